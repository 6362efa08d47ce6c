"""Intents and holds, read and changed: the file of them, and where an earlier version kept them.

There is no file

- where nothing was ever asked for: there are no intents;
- beside a journal of version 1 or 2, which has them in its tables (and a copy of them beside it):
  they are read from there until somebody writes, who first carries them over;
- otherwise because it was lost: not known. That shows in what is left beside it, or in the run
  directory, which outlives the state directory as long as the host is up.

A file that is older than the journal has seen, such as one from a backup, may lack a hold: then it
is not known, either, until a person accepts it.
"""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import JournalDamaged, JournalError, JournalForeign
from lamplighter.host.journal.database import carry_over, open_reader, table_intents
from lamplighter.host.journal.intent_file import (
    BEFORE,
    FILE_NAME,
    TRACE,
    check_folder,
    hint_for,
    load,
    load_from,
    locked,
    store,
)
from lamplighter.host.journal.schema import FILE_NAME as JOURNAL
from lamplighter.model.intent import Intents

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamplighter.model.clock import Clock
    from lamplighter.model.intent import Hold, Intent

    Signature = tuple[int, int, int, int]


class IntentsUnknown(JournalError):
    """Which domains are held is not known; ``holds`` are those that are known all the same."""

    def __init__(self, error: JournalError, holds: Mapping[str, Hold]) -> None:
        super().__init__(error.message, hint=error.hint)
        self.code = error.code
        self.holds = holds


class Evidence(NamedTuple):
    """What the journal shows of intents: ``tables`` of an earlier version; the number it has seen.

    ``began``: there once were intents here. ``error``: why the journal cannot be read.
    """

    tables: Intents | None = None
    seen: int = 0
    began: bool = False
    error: JournalError | None = None


def find_evidence(directory: Path, connection: sqlite3.Connection | None = None) -> Evidence:
    """Return what the journal shows, by this connection or one of its own."""
    try:
        if connection is not None:
            tables, seen = table_intents(connection, directory / JOURNAL)
            # A journal without such tables was begun beside a file.
            return Evidence(tables, max(seen, 1) if tables is None else seen, began=True)
        began = _remains(directory)
        if (own := open_reader(directory)) is not None:
            with closing(own):
                return find_evidence(directory, own)
    except JournalError as error:
        return Evidence(began=True, error=error)
    return Evidence(began=began)


def load_intents(
    directory: Path, evidence: Evidence | None = None, *, run: Path | None = None
) -> Intents:
    """Return all intents and holds; raise ``IntentsUnknown`` where they are not known.

    ``evidence`` is what the journal shows, and was read before: the file's number only grows, and
    is never behind what is recorded. ``run`` is the run directory, where one is known.
    """
    try:
        check_folder(directory)
        evidence = evidence or find_evidence(directory)
        if run is not None and _trace(run) == str(directory):
            evidence = evidence._replace(began=True)
        return _load(directory, evidence)
    except JournalError as error:
        before = _readable(directory / BEFORE, trusted=False)
        kept = _readable(directory / FILE_NAME, trusted=False)
        raise IntentsUnknown(error, {**before.holds, **kept.holds}) from error


def _load(directory: Path, evidence: Evidence) -> Intents:
    tables, seen, began, unreadable = evidence
    if _readable(directory / BEFORE).number:
        tables = None  # they have been carried over, and do not count any more
    try:
        kept = load(directory)
    except JournalError as error:
        if tables is None or isinstance(error, JournalForeign):
            raise
        return tables  # what is torn is the copy that an earlier version kept beside them
    if unreadable is not None and (kept is None or isinstance(unreadable, JournalForeign)):
        # A newer version may know of reasons to leave a domain alone that are unknown here.
        raise unreadable
    if tables is not None and (kept is None or not kept.number):
        return tables
    if kept is None and began:
        raise JournalError(
            f"{directory / FILE_NAME} is gone, and with it intents and holds",
            hint=hint_for(directory, "see that its file system is mounted"),
        )
    if kept is not None and kept.number < seen:
        raise JournalError(
            f"{directory / FILE_NAME} is older than the journal has seen, and may lack a hold",
            hint="lamplighter history shows who held what; if the file is right, "
            "lamplighter release --accept; if no domain is held, lamplighter release --all",
        )
    return kept or Intents()


def _remains(directory: Path) -> bool:
    """Return whether there are signs that there once were intents here; raise ``JournalError``."""
    try:
        if directory.is_symlink() and not directory.exists():
            raise JournalError(
                f"intents and holds cannot be read: {directory} is a link to nothing",
                hint="see that the file system that holds it is mounted",
            )
        damaged = (one.name.startswith(f"{JOURNAL}.damaged-") for one in directory.iterdir())
        return (directory / JOURNAL).is_symlink() or (directory / BEFORE).exists() or any(damaged)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise JournalError(
            f"intents and holds cannot be read: {directory}: {error.strerror}",
            hint="run as a user who may read it, such as root",
        ) from error


def _trace(run: Path) -> str | None:
    """Return the state directory in which intents were kept in this boot; None: none, or unread."""
    try:
        return (run / TRACE).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _readable(path: Path, *, trusted: bool = True) -> Intents:
    """Return what can be read of a file that does not decide; see ``load_from``."""
    try:
        return load_from(path, trusted=trusted) or Intents()
    except JournalError:
        return Intents()


class IntentStore:
    """The intents and holds of one host, for a process that also changes them."""

    def __init__(self, directory: Path, clock: Clock, *, run: Path | None = None) -> None:
        """``run`` is the run directory, where one is known."""
        self._directory = directory
        self._run = run
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
                self._newest, self._signature = self._load(), signature
            except IntentsUnknown as error:
                self._newest = Intents(holds=error.holds, error=error.message)
                self._signature = None  # what fails now may be read the next time
        return self._newest

    async def settle(self) -> None:
        """Have a file, with what an earlier version had in its tables; raise ``JournalError``."""
        if not self.read().number:
            await self._change(lambda now: now)
        self._leave_trace()

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
            if known is None:
                raise JournalError(
                    f"there is no {self._directory / FILE_NAME} to accept",
                    hint=hint_for(self._directory),
                )
            return self._store(known)

    async def begin_again(self) -> Intents:
        """Have no domain held, even where nothing can be read; return what could be read before.

        The other intents are kept, as far as they can be read. Raises ``JournalError``, also for
        what a newer version wrote.
        """
        async with locked(self._directory, self._clock):
            with suppress(JournalError):
                self._carry_over()
            try:
                known = self._load()
            except IntentsUnknown as error:
                if isinstance(error.__cause__, JournalForeign):
                    raise
                known = _readable(self._directory / FILE_NAME)._replace(holds=error.holds)
            # Its number may be behind what a journal that cannot be read has seen: once that can be
            # read again, the file is too old, which is reported.
            self._store(known._replace(holds={}), unread=True)
            return known

    async def _change(self, change: Callable[[Intents], Intents]) -> None:
        async with locked(self._directory, self._clock):
            try:
                self._carry_over()
            except JournalDamaged:
                pass  # then they are read as far as that goes, or a copy is
            except JournalError:
                # There may be no room to migrate the journal; what is asked for is kept all the
                # same, if what the tables say has got into the file.
                if not _readable(self._directory / FILE_NAME).number:
                    raise
            now = self._load()
            if not now.number and (now.meant or now.holds):
                # From now on tables, and a copy of them, do not count, which the file before the
                # last change shows.
                now = self._store(now)
            new = change(now)
            if new != now or not now.number:
                self._store(new)

    def _carry_over(self) -> None:
        """Put what an earlier version has in tables into the file; raise ``JournalError``."""
        if find_evidence(self._directory).tables is not None:
            check_folder(self._directory)
            carry_over(self._directory, self._keep_tables)

    def _keep_tables(self) -> None:
        now = self._load()
        if not now.number:
            self._store(now)

    def _store(self, intents: Intents, *, unread: bool = False) -> Intents:
        """Replace the file by one whose number is higher than any that was seen.

        ``unread``: even where it cannot be read what was seen.
        """
        _, seen, _, error = find_evidence(self._directory)
        # A damaged journal has no record that could have seen a higher number.
        ignored = unread and not isinstance(error, JournalForeign)
        if error is not None and not (ignored or isinstance(error, JournalDamaged)):
            raise error
        newer = intents._replace(number=max(intents.number, seen) + 1)
        store(self._directory, newer)
        self._leave_trace()
        return newer

    def _load(self) -> Intents:
        return load_intents(self._directory, run=self._run)

    def _leave_trace(self) -> None:
        if self._run is not None:
            with suppress(OSError):  # a run creates the folder; without it there is no trace
                (self._run / TRACE).write_text(
                    str(self._directory), encoding="utf-8", errors="surrogateescape"
                )
