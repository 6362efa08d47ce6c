"""Who is told what happens during a run, while it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamplighter.formats.agent_protocol import GuestWords
    from lamplighter.model.run import Plan, Result, Transition


class Listener(Protocol):
    """Hears of a run. Every method returns at once and raises nothing."""

    def began(self, plan: Plan) -> None:
        """The run begins; steps that need no action are settled at once."""

    def moved(self, transition: Transition) -> None:
        """A domain is in another phase."""

    def heard(self, name: str, words: GuestWords) -> None:
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

    def heard(self, name: str, words: GuestWords) -> None:
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
