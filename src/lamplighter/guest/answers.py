"""The host's answers to requests for more time: which of them is news.

An answer stays in XenStore until the next one, so one that stands there when the agent begins is
of an earlier shutdown, mostly. But where a shutdown is under way already, it may have come while
there was no agent to hear it, and the guard would end the guest in the middle of what the time was
granted for. So which one was heard last is noted for the agent that comes next, once the guard has
moved: one that is heard twice moves it nowhere. Without such notes nothing that stands there is
news. What is heard late counts from then, so the outage comes on top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import Answer, parse_answer
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus, remembered

if TYPE_CHECKING:
    from lamplighter.guest.run_state import Notebook

ANSWER = node("answer")

#: Noted where none was heard yet; no answer is called so.
NONE = "-"


class Answers:
    """Hears each answer once."""

    def __init__(self, notes: Notebook) -> None:
        self._notes = notes
        self._heard = self._noted = ""  # not looked yet

    def begin(self, bus: Bus, *, going: bool) -> None:
        """Look at XenStore for the first time; ``going``: a shutdown is under way already."""
        if going and (notes := self._notes.read()):
            self._heard = self._noted = notes[-1]
        else:
            answer = parse_answer(remembered(bus, ANSWER))
            self._heard = NONE if answer is None else answer.id
            self.settled()

    def hear(self, bus: Bus) -> Answer | None:
        """Return the answer that stands there if it is news."""
        answer = parse_answer(remembered(bus, ANSWER))
        if answer is None or answer.id == self._heard:
            return None
        self._heard = answer.id
        return answer

    def settled(self) -> None:
        """What was heard has had its effect."""
        if self._heard != self._noted:
            self._noted = self._heard
            self._notes.add(self._heard)
