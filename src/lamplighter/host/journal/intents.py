"""Intents and holds, read and changed: the file of them, and where an earlier version kept them.

There is no file

- where nothing was ever asked for: there are no intents;
- beside a journal of version 1 or 2, which has them in its tables (and a copy of them beside it):
  they are read from there until somebody writes, who first carries them over (``settle``);
- otherwise because it was lost: not known.

A file that is older than the journal has seen, such as one from a backup, may lack a hold: then it
is not known, either, until a person accepts it.
"""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError, JournalForeign
from lamplighter.formats.state_json import parse_intents
from lamplighter.host.journal.database import open_reader, table_intents
from lamplighter.host.journal.intent_file import BEFORE, FILE_NAME, load, locked, store
from lamplighter.host.journal.schema import FILE_NAME as JOURNAL
from lamplighter.model.intent import Intents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamplighter.model.clock import Clock
    from lamplighter.model.intent import Hold, Intent

    Signature = tuple[int, int, int, int]


def load_intents(directory: Path) -> Intents:
    """Return all intents and holds; raise ``JournalError`` where they are not known."""
    # The journal first: the file's number only grows, and is never behind what a run has seen.
    tables, seen, unreadable = None, 0, None
    began = (directory / JOURNAL).exists() or any(directory.glob(f"{JOURNAL}.damaged-*"))
    try:
        if (connection := open_reader(directory)) is not None:
            with closing(connection):
                tables, seen = table_intents(connection, directory / JOURNAL)
    except JournalForeign:
        raise  # a newer version may know of reasons to leave a domain alone that are unknown here
    except JournalError as error:
        unreadable = error
    try:
        intents = load(directory)
    except JournalForeign:
        raise
    except JournalError:
        # What is torn may be the copy that an earlier version kept beside its tables.
        if tables is None or _carried_over(directory):
            raise
        return tables
    if intents is not None and intents.number:
        if intents.number < seen:
            raise JournalError(
                f"{directory / FILE_NAME} is older than the journal has seen, and may lack a hold",
                hint="lamplighter history shows who held what; if the file is right, "
                "lamplighter release --accept; if no domain is held, lamplighter release --all",
            )
        return intents
    if tables is not None and not _carried_over(directory):
        return tables
    if intents is None and unreadable is not None:
        raise unreadable
    if intents is None and (began or (directory / BEFORE).exists()):
        raise JournalError(
            f"{directory / FILE_NAME} is gone, and with it intents and holds",
            hint=f"if {BEFORE} is beside it and right, cp {directory / BEFORE} "
            f"{directory / FILE_NAME} and lamplighter release --accept; "
            "if no domain is held, lamplighter release --all",
        )
    return intents or Intents()


def _carried_over(directory: Path) -> bool:
    """Return whether the file before the last change shows that tables do not count any more."""
    try:
        before = parse_intents((directory / BEFORE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return before.number > 0


class IntentStore:
    """The intents and holds of one host, for a process that also changes them."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._signature: Signature | None = None
        self._newest = Intents()

    def read(self) -> Intents:
        """Return all of it; see ``Intents.error``. A file that has not changed is not read again.

        A run asks before each create, so this does not grow with the number of domains.
        """
        try:
            found = (self._directory / FILE_NAME).stat()
            signature = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        except OSError:
            signature = None
        if signature is None or signature != self._signature:
            try:
                self._newest = load_intents(self._directory)
            except JournalError as error:
                self._newest = Intents(error=error.message)
            self._signature = signature
        return self._newest

    async def settle(self) -> None:
        """Have a file, with what an earlier version had in its tables; raise ``JournalError``."""
        if not self.read().number:
            await self._change(lambda now: now)

    async def intend(self, *intents: Intent) -> None:
        """Keep what domains are meant to be from now on; raise ``JournalError``."""
        if intents:
            await self._change(lambda now: now.updated(intents))

    async def hold(self, *holds: Hold) -> None:
        """Keep that domains are held from now on; raise ``JournalError``."""
        if holds:
            new = {one.domain: one for one in holds}
            await self._change(lambda now: now._replace(holds={**now.holds, **new}))

    async def release(self, *keys: str) -> None:
        """Keep that domains are not held any more; raise ``JournalError``."""
        if keys:
            await self._change(
                lambda now: now._replace(
                    holds={key: one for key, one in now.holds.items() if key not in keys}
                )
            )

    async def accept(self) -> Intents:
        """Go by the file as it stands, although it is older; raise ``JournalError``."""
        async with locked(self._directory, self._clock):
            known = load(self._directory)
            if known is None or not known.number:
                known = load_intents(self._directory)
            return self._store(known)

    async def begin_again(self) -> Intents:
        """Have no domain held, even where nothing can be read; return what could be read before.

        The other intents are kept, as far as they can be read. Raises ``JournalError``.
        """
        async with locked(self._directory, self._clock):
            known = Intents()
            for read in (load, load_intents):
                with suppress(JournalError):
                    known = read(self._directory) or known
            self._store(known._replace(holds={}))
            return known

    async def _change(self, change: Callable[[Intents], Intents]) -> None:
        async with locked(self._directory, self._clock):
            now = load_intents(self._directory)
            new = change(now)
            if new != now or not now.number:
                self._store(new)

    def _store(self, intents: Intents) -> Intents:
        """Replace the file by one whose number is higher than any that was seen."""
        seen = 0
        try:
            if (connection := open_reader(self._directory)) is not None:
                with closing(connection):
                    _, seen = table_intents(connection, self._directory / JOURNAL)
        except JournalError:
            pass  # then there is no record that could have seen a higher one
        newer = intents._replace(number=max(intents.number, seen) + 1)
        store(self._directory, newer)
        return newer
