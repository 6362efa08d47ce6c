"""The listeners of a run, which are called while it lasts."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamplighter.formats.agent_protocol import AgentStatus
    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Transition

#: The shortest time between two texts of one guest, in host seconds: a person reads them.
SHOWING_INTERVAL = 1.0


class Listener(Protocol):
    """Is called with what happens in a run. Every method returns at once and raises nothing."""

    def began(self, plan: Plan) -> None:
        """The run begins; steps that need no action are settled at once."""

    def moved(self, transition: Transition) -> None:
        """A domain is in another phase."""

    def guest_reported(self, name: str, text: str) -> None:
        """A guest reports something new about its shutdown; at most once a second."""

    def settled(self, result: Result) -> None:
        """A domain's part has ended."""

    def message(self, level: int, message: str) -> None:
        """Something about the run itself that a person should know; the level is the log's."""


class ListenerGroup:
    """A ``Listener`` that passes everything on to several."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def began(self, plan: Plan) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.began(plan)

    def moved(self, transition: Transition) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.moved(transition)

    def guest_reported(self, name: str, text: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.guest_reported(name, text)

    def settled(self, result: Result) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.settled(result)

    def message(self, level: int, message: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.message(level, message)


class Throttle:
    """Shows what one guest reports: only what has changed, and not too often."""

    def __init__(self, clock: Clock, show: Callable[[str], None]) -> None:
        self._clock = clock
        self._show = show
        self._shown = ""
        self._news = ""
        self._after = -inf

    @property
    def due(self) -> float:
        """When something is to be shown; infinite while nothing is new."""
        return self._after if self._news else inf

    def update(self, status: AgentStatus) -> None:
        """Take in the newest report; what says nothing of the guest's shutdown is not news."""
        text = status.doing()
        self._news = text if text != self._shown else ""
        self.show_due()

    def show_due(self) -> None:
        """Show what is due."""
        now = self._clock.monotonic()
        if self._news and now >= self._after:
            self._shown, self._news = self._news, ""
            self._after = now + SHOWING_INTERVAL
            self._show(self._shown)
