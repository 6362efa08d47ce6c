"""What whoever comes later in the same life of the system has to know: lines in a file in ``/run``.

An agent that is started anew, or init's hook in its place, finds there what was done before it.
Where ``/run`` is on a disk the file outlives the system that it tells of. So the first line says of
which boot it is, and what another boot has noted is nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamplighter.guest.log import Log

BOOT_ID = "sys/kernel/random/boot_id"


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
