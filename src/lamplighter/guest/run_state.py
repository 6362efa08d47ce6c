"""The agent's state in ``/run``, for the agents and hooks that run after it in the same boot.

A restarted agent, or init's hook in its place, reads there what was done before. If ``/run`` is on
a disk, the files outlive the boot that they describe. So their first line names the boot, and a
file of another boot counts as empty.

``taken``: the request that the agent acknowledged, or is about to acknowledge:

    poweroff            it is about to be acknowledged; perhaps it was
    poweroff taken      it was, and the system's shutdown has to begin when the scripts end

There is no such file if nobody or somebody else is to begin the shutdown, or if it has begun.

``answered``: the last of the host's answers to requests for more time that the agent has processed.
An answer stays in XenStore until the next one, so an answer found at the agent's start mostly
belongs to an earlier shutdown. But it may also have come while no agent was running, and then the
guard would end the guest in the middle of the granted time. An answer is noted after the guard has
been moved, because processing it twice does not move the guard again. If it is read late, its
seconds count from then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import REQUESTS, Answer, parse_answer
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus, remembered

if TYPE_CHECKING:
    from lamplighter.guest.handshake import State
    from lamplighter.guest.log import Log

BOOT_ID = "sys/kernel/random/boot_id"

ANSWER = node("answer")

#: Noted if there has been no answer yet; not the id of any answer.
NONE = "-"

TAKEN = "taken"


class BootNotes:
    """A file of notes, one a line, valid for the current boot."""

    def __init__(self, path: str, proc: str, log: Log) -> None:
        self._path = path
        self._proc = proc
        self._log = log

    def read(self) -> list[str]:
        """Return the lines noted since the system booted."""
        return (self._lines() or [""])[1:]

    def add(self, line: str) -> None:
        """Append a line; a failure is only logged."""
        begun = bool(self._lines())
        heading = "" if begun else f"{self._heading()}\n"
        try:
            with open(self._path, "a" if begun else "w", encoding="utf-8") as file:
                file.write(f"{heading}{line}\n")
        except OSError as error:
            self._log.warn(f"{self._path}: {error.strerror}")

    def clear(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(self._path)

    def _lines(self) -> list[str]:
        """Return the file's lines with the heading; none if it belongs to another boot."""
        with suppress(OSError), open(self._path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
            if lines[:1] == [self._heading()]:
                return lines
        return []

    def _heading(self) -> str:
        with suppress(OSError), open(f"{self._proc}/{BOOT_ID}", encoding="ascii") as file:
            return f"boot {file.read().strip()}"
        return "boot unknown"


class Answers:
    """Returns each of the host's answers once, across restarts of the agent."""

    def __init__(self, notes: BootNotes) -> None:
        self._notes = notes
        self._heard = self._noted = ""  # nothing has been read yet

    def begin(self, bus: Bus, *, going: bool) -> None:
        """Find out which answer is old; ``going``: a shutdown is under way already."""
        if going and (notes := self._notes.read()):
            self._heard = self._noted = notes[-1]
        else:
            answer = parse_answer(remembered(bus, ANSWER))
            self._heard = NONE if answer is None else answer.id
            self.settled()

    def hear(self, bus: Bus) -> Answer | None:
        """Return the answer in XenStore if it is new."""
        answer = parse_answer(remembered(bus, ANSWER))
        if answer is None or answer.id == self._heard:
            return None
        self._heard = answer.id
        return answer

    def settled(self) -> None:
        """Note that the last answer returned has taken effect."""
        if self._heard != self._noted:
            self._noted = self._heard
            self._notes.add(self._heard)


class RequestRecord:
    """Keeps the request that the agent takes in a ``BootNotes``, whose last line is valid."""

    def __init__(self, notes: BootNotes) -> None:
        self._notes = notes
        self._line = (notes.read() or [""])[-1]

    def find(self) -> tuple[str, bool]:
        """Return the request an earlier agent left, or "", and whether it certainly took it."""
        request, _, taken = self._line.partition(" ")
        return (request, taken == TAKEN) if request in REQUESTS else ("", False)

    def note(self, state: State) -> None:
        """Before the actions: note what a successor must know if the agent dies during them."""
        if state.begins:
            self._write(f"{state.begins} {TAKEN}")
        elif state.acknowledging and not state.acknowledged:
            self._write(state.acknowledging)

    def forget(self, state: State) -> None:
        """After the actions: clear the note if the agent has no shutdown to begin any more."""
        if self._line and not (state.begins or state.acknowledging):
            self._line = ""
            self._notes.clear()

    def _write(self, line: str) -> None:
        if line != self._line:
            self._line = line
            self._notes.add(line)
