"""The journal: what runs did and how they ended, on disk before the action it announces.

When a coroutine of ``Journal`` returns, what it was given survives a power cut. An fsync takes as
long as a disk takes, and a thousand domains that go down together write thousands of
transitions, so writes are *grouped*: whatever was asked for while one commit was under way goes
into the next, as one transaction with one fsync. A commit runs in a thread of its own, so the
event loop never waits for a disk; ``threaded=False`` commits in the loop's thread, for simulations
on virtual time.

A write that SQLite refuses for what it says (such as a run that does not exist) fails alone; a
database that cannot be written fails the whole group with ``JournalError``, and a later write
tries again, so a disk that was full for a while loses only what was written meanwhile. A database
that was moved away under a run's hands would take its record along, so that is looked for.

Intents and holds are in a copy, too, before they are committed (``host/journal/intents``). The copy
is written whole, once for each commit that has any of them; so who has many writes them in one
call.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import JournalError
from lamplighter.host.journal import intents as words
from lamplighter.host.journal.database import journal_error, open_writer
from lamplighter.host.journal.intents import storable, write_copy
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from lamplighter.model.domain import Definition
    from lamplighter.model.intent import Hold, Intent, Intents
    from lamplighter.model.run import Direction, LastRecord, Result, Run, Transition, UnfinishedRun


class _Write(NamedTuple):
    """One statement that waits for the next commit, for a row or several, and who waits for it."""

    statement: str
    rows: tuple[words.Row, ...]
    done: asyncio.Future[int]


class Journal:
    """The journal of one host. One process writes it at a time (``host/lock``); many may read."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directory: Path,
        executor: ThreadPoolExecutor | None,
        told: str = "",
    ) -> None:
        """Take over an open connection; ``Journal.open`` makes one.

        ``told`` is for a person: why this journal had to be begun anew, if it had to.
        """
        self.told = told
        self._connection = connection
        self._path = directory / FILE_NAME
        self._identity = self._look_at_file()
        self._executor = executor
        self._reader = JournalReader(directory)
        self._waiting: list[_Write] = []
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, directory: Path, *, threaded: bool = True) -> Journal:
        """Open ``state.db`` in this directory, creating both; raise ``JournalError``.

        One that is damaged or gone is begun anew: see ``host/journal/database`` and ``told``.
        """
        connection, told = open_writer(directory)
        executor = ThreadPoolExecutor(1, thread_name_prefix="journal") if threaded else None
        return cls(connection, directory, executor, told)

    async def begin(self, direction: Direction, boot_id: str, started: datetime) -> int:
        """Write that a run begins; return its number. Raise ``JournalError``."""
        return await self._write(
            "INSERT INTO run (direction, boot_id, started) VALUES (?, ?, ?)",
            (direction.value, boot_id, started.isoformat()),
        )

    async def record(self, run: int, transition: Transition) -> None:
        """Write that a domain moves, before it is moved. Raise ``JournalError``."""
        await self._write(
            "INSERT INTO transition (run, name, uuid, domid, before, after, detail, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                storable(transition.name),
                None if transition.uuid is None else str(transition.uuid),
                transition.domid,
                transition.before.value,
                transition.after.value,
                storable(transition.detail),
                transition.at.isoformat(),
            ),
        )

    async def settle(self, run: int, result: Result, at: datetime) -> None:
        """Write how a domain's part ended. Raise ``JournalError``."""
        await self._write(
            "INSERT INTO result (run, name, uuid, domid, outcome, seconds, note, good, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                storable(result.name),
                None if result.uuid is None else str(result.uuid),
                result.domid,
                result.outcome.value,
                result.seconds,
                storable(result.note),
                int(result.good),
                at.isoformat(),
            ),
        )

    async def finish(self, run: int, ended: datetime, exit_status: int) -> None:
        """Write that a run has ended. Raise ``JournalError``."""
        await self._write(
            "UPDATE run SET ended = ?, exit = ? WHERE id = ?",
            (ended.isoformat(), exit_status, run),
        )

    async def close_dead(self, run: int, at: datetime) -> None:
        """Write that a run that had died has no loose ends any more. Raise ``JournalError``."""
        await self._write(
            "UPDATE run SET ended = ? WHERE id = ? AND ended IS NULL", (at.isoformat(), run)
        )

    async def intend(self, *intents: Intent) -> None:
        """Write what domains are meant to be from now on, in one commit. Raise ``JournalError``."""
        if intents:
            await self._write(words.INTEND, *map(words.intent_values, intents))

    async def hold(self, *holds: Hold) -> None:
        """Write that domains are held from now on, in one commit; a new reason replaces an old one.

        Raise ``JournalError``.
        """
        if holds:
            await self._write(words.HOLD, *map(words.hold_values, holds))

    async def release(self, domain: str, said_by: str, at: datetime) -> None:
        """Write that nobody holds a domain any more; ``domain`` is its key."""
        await self._write(words.RELEASE, (at.isoformat(), storable(said_by), domain))

    def intents(self) -> Intents:
        """Return what is meant of each domain; see ``JournalReader.intents``."""
        return self._reader.intents()

    def hold_of(self, definition: Definition) -> Hold | None:
        """Return the hold on one domain; see ``JournalReader.hold_of``."""
        return self._reader.hold_of(definition)

    def unfinished(self) -> list[UnfinishedRun]:
        """Return what runs that have died left behind; see ``JournalReader.unfinished``."""
        return self._reader.unfinished()

    def failed_starts(self, name: str, uuid: UUID | None) -> list[tuple[datetime, str]]:
        """Return the failed starts in a row; see ``JournalReader.failed_starts``."""
        return self._reader.failed_starts(name, uuid)

    def runs(self, *, limit: int = 20, name: str | None = None) -> list[Run]:
        """Return the newest runs first; see ``JournalReader.runs``."""
        return self._reader.runs(limit=limit, name=name)

    def transitions(self, run: int, name: str | None = None) -> list[Transition]:
        """Return a run's transitions; see ``JournalReader.transitions``."""
        return self._reader.transitions(run, name)

    def last_records(self, boot_id: str) -> dict[str, LastRecord]:
        """Return what is known of each domain in this boot; see ``JournalReader.last_records``."""
        return self._reader.last_records(boot_id)

    async def close(self) -> None:
        """Finish what waits and close the database; a write after this is a ``JournalError``."""
        while self._writer is not None:
            await self._writer
        if self._executor is not None:
            self._executor.shutdown()
        self._reader.close()
        self._connection.close()

    async def _write(self, statement: str, *rows: words.Row) -> int:
        """Have one statement committed; return the number of the last row it inserted."""
        loop = asyncio.get_running_loop()
        write = _Write(statement, rows, loop.create_future())
        self._waiting.append(write)
        if self._writer is None:
            # The task's first step comes after everything that is ready now has had its turn:
            # all of that shares the first commit.
            self._writer = loop.create_task(self._write_all())
        return await write.done

    async def _write_all(self) -> None:
        group: list[_Write] = []
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                for write, answer in zip(group, await self._answers(group), strict=True):
                    _tell(write.done, answer)
        finally:
            self._writer = None
            for write in (*group, *self._waiting):
                write.done.cancel()  # no effect unless the loop is being torn down

    async def _answers(self, group: Sequence[_Write]) -> list[int | JournalError]:
        if self._executor is None:
            return self._commit(group)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._commit, group)
        except RuntimeError:  # the executor was shut down
            return [self._closed()] * len(group)

    def _commit(self, group: Sequence[_Write]) -> list[int | JournalError]:
        """Write a group in one transaction; return each one's row number or error."""
        if self._look_at_file() != self._identity:
            return [self._moved()] * len(group)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = [self._execute(write) for write in group]
            if any(write.statement in words.WORDS for write in group):
                write_copy(self._path.parent, self._said())
            self._connection.execute("COMMIT")
        except JournalError as error:
            self._roll_back()
            return [error] * len(group)
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.ProgrammingError):
                return [self._closed()] * len(group)
            self._roll_back()
            failure = journal_error(error, self._path, "written")
            return [failure] * len(group)
        return answers

    def _said(self) -> Intents:
        try:
            return words.said(self._connection)
        except ValueError as error:
            raise JournalError(
                f"the journal {self._path} holds an intent or hold that is none: {error}",
                hint="nothing is written that could not be copied; lamplighter history may tell",
            ) from error

    def _execute(self, write: _Write) -> int | JournalError:
        inserted = 0
        try:
            for row in write.rows:
                inserted = self._connection.execute(write.statement, row).lastrowid or 0
            return inserted
        except sqlite3.IntegrityError as error:
            # SQLite has undone this statement alone; the others of the group are as good as ever.
            return journal_error(error, self._path, "written")

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # a full disk may have rolled it back already; the next BEGIN will tell

    def _look_at_file(self) -> tuple[int, int] | None:
        """Say which file has the journal's name now; None: none has."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _moved(self) -> JournalError:
        return JournalError(
            f"the journal {self._path} was moved or removed while it was written to",
            hint="the next run begins anew where it was; this one's record is not in it",
        )

    def _closed(self) -> JournalError:
        return JournalError(f"the journal {self._path} is closed")


def _tell(done: asyncio.Future[int], answer: int | JournalError) -> None:
    if done.done():  # whoever waited was cancelled; what it asked for is written all the same
        return
    if isinstance(answer, JournalError):
        # One error may answer many; each gets its own traceback.
        done.set_exception(type(answer)(answer.message, hint=answer.hint))
    else:
        done.set_result(answer)
