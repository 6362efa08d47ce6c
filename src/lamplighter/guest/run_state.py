"""What the agent's successor in this boot has to know: files of lines in ``/run``.

A restarted agent, or init's hook in its place, finds there what was done before. Where ``/run`` is
on a disk its files outlive the system that they tell of, so the first line names the boot, and
lines of another boot count as none.

``taken``: the request that the agent acknowledged, or is about to:

    poweroff            it is about to be acknowledged; perhaps it was
    poweroff taken      it was, and the system's shutdown has to begin when the scripts end

It is empty where nobody or somebody else is to begin the shutdown, or it has begun.

``answered``: the host's last answer to a request for more time that the agent has heard. An answer
stays in XenStore until the next one, so what stands there when an agent starts mostly belongs to an
earlier shutdown. But it may also have come while no agent ran to hear it, and then the guard would
end the guest in the middle of the granted time. It is noted once the guard has moved: an answer
that is heard twice moves it nowhere. What is heard late counts from then.
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

#: Noted where none was heard yet; no answer is called so.
NONE = "-"

TAKEN = "taken"


class Notebook:
    """The notes in one file."""

    def __init__(self, path: str, proc: str, log: Log) -> None:
        self._path = path
        self._proc = proc
        self._log = log

    def read(self) -> list[str]:
        """Return the lines that were noted since the system booted."""
        return (self._lines() or [""])[1:]

    def add(self, line: str) -> None:
        """Note a line."""
        begun = bool(self._lines())
        heading = "" if begun else f"{self._heading()}\n"
        try:
            with open(self._path, "a" if begun else "w", encoding="utf-8") as file:
                file.write(f"{heading}{line}\n")
        except OSError as error:
            self._log.warn(f"{self._path}: {error.strerror}")

    def clear(self) -> None:
        """Forget everything."""
        with suppress(OSError):
            os.unlink(self._path)

    def _lines(self) -> list[str]:
        """What the file holds, heading and all; nothing when it is of another boot."""
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
