"""What the agent took, or is about to take: kept for the agent that follows one that was killed.

    poweroff            it is about to be acknowledged; perhaps it was
    poweroff taken      it was, and the system's shutdown has to be begun when the scripts end

There is no such file where nobody or somebody else is to begin the shutdown, or it has been begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import REQUESTS

if TYPE_CHECKING:
    from lamplighter.guest.handshake import State
    from lamplighter.guest.run_state import Notebook

TAKEN = "taken"


class Taking:
    """Keeps it in a notebook, whose last line stands."""

    def __init__(self, notes: Notebook) -> None:
        self._notes = notes
        self._line = (notes.read() or [""])[-1]

    def find(self) -> tuple[str, bool]:
        """Return the request that an earlier agent left, if any, and whether it surely took it."""
        request, _, taken = self._line.partition(" ")
        return (request, taken == TAKEN) if request in REQUESTS else ("", False)

    def note(self, state: State) -> None:
        """Before something is done: write down what is to be known if it is the last that is."""
        if state.begins:
            self._write(f"{state.begins} {TAKEN}")
        elif state.taking and not state.took:
            self._write(state.taking)

    def forget(self, state: State) -> None:
        """After it was done: the shutdown has been begun, or somebody else begins it."""
        if self._line and not (state.begins or state.taking):
            self._line = ""
            self._notes.clear()

    def _write(self, line: str) -> None:
        if line != self._line:
            self._line = line
            self._notes.add(line)
