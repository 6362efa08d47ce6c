"""A guest's handshake as tests drive it: it hears events, and what it does is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.guest.events import (
    Action,
    Arm,
    Record,
    RequestSeen,
    Script,
    ScriptsFound,
    Settings,
    SystemStopping,
)
from lamplighter.guest.handshake import State, step

if TYPE_CHECKING:
    from lamplighter.guest.events import Event

SETTINGS = Settings(deadline=100.0, grace=2.0, margin=10.0)
FIRST, SECOND = Script("10-first", 30.0), Script("20-second", 5.0)


class Done(list[Action]):
    """What was done. Two actions are alike if they are of one kind, too: tuples alone are not."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and repr(list(self)) == repr(list(other))

    __hash__ = None  # type: ignore[assignment]

    def has(self, action: Action) -> bool:
        return repr(action) in map(repr, self)


class Guest:
    """A machine with everything that it has done so far."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.state = State(settings)
        self.done: list[Action] = []

    def hears(self, *events: Event) -> Done:
        """Tell it of these, one after another; what it does about them, records aside.

        Of an order for the guard it is left out what the host said.
        """
        done: list[Action] = []
        for event in events:
            self.state, actions = step(self.state, event)
            done += [
                action._replace(basis="") if isinstance(action, Arm) else action
                for action in actions
            ]
        self.done += done
        return Done(action for action in done if not isinstance(action, Record))

    def recorded(self) -> list[str]:
        return [action.text for action in self.done if isinstance(action, Record)]

    def arms(self) -> list[Arm]:
        return [action for action in self.done if isinstance(action, Arm)]


def going(request: str = "poweroff", at: float = 0.0) -> Guest:
    """A guest that the host has asked: the word was taken, and the system shuts down."""
    guest = Guest()
    guest.hears(
        RequestSeen(at, request.encode()),
        RequestSeen(at, b""),
        SystemStopping(at, request),
        ScriptsFound(at, ()),
    )
    return guest
