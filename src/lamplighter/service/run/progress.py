"""Who is told what happens during a run, while it happens."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamplighter.formats.agent_protocol import AgentWords
    from lamplighter.model.clock import Clock
    from lamplighter.model.run import Plan, Result, Transition

#: Between two tellings of one guest's words, in host seconds: who reads them is a person.
TELLING_INTERVAL = 1.0


class Listener(Protocol):
    """Hears of a run. Every method returns at once and raises nothing."""

    def began(self, plan: Plan) -> None:
        """The run begins; steps that need no action are settled at once."""

    def moved(self, transition: Transition) -> None:
        """A domain is in another phase."""

    def heard(self, name: str, words: AgentWords) -> None:
        """A guest says something else of its end than before; once a second at the most."""

    def settled(self, result: Result) -> None:
        """A domain's part has ended."""

    def said(self, message: str) -> None:
        """Something about the run itself that a person should know."""


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

    def heard(self, name: str, words: AgentWords) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.heard(name, words)

    def settled(self, result: Result) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.settled(result)

    def said(self, message: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.said(message)


class Throttle:
    """Tells one guest's words on: only what has changed, and not too often."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[AgentWords], None],
        shown: Callable[[AgentWords], str],
    ) -> None:
        """``shown`` is what a person is shown of words; where it is empty there is no news."""
        self._clock = clock
        self._tell = tell
        self._shown = shown
        self._told = ""
        self._words: AgentWords | None = None
        self._after = -inf

    @property
    def due(self) -> float:
        """When something is to be told; infinite while nothing is new."""
        return self._after if self._words is not None else inf

    def hear(self, words: AgentWords) -> None:
        """Take in the newest words."""
        shown = self._shown(words)
        self._words = words if shown and shown != self._told else None
        self.tell()

    def tell(self) -> None:
        """Tell what is due."""
        now = self._clock.monotonic()
        if self._words is not None and now >= self._after:
            self._told, self._after = self._shown(self._words), now + TELLING_INTERVAL
            words, self._words = self._words, None
            self._tell(words)
