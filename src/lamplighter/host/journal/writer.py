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

Only history is here: intents and holds, which decide, are in a file (``host/journal/intents``).
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from lamplighter.errors import JournalDamaged, JournalError
from lamplighter.host.journal.database import (
    SMALL,
    check_whole,
    journal_error,
    open_writer,
    put_aside,
)
from lamplighter.host.journal.schema import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from lamplighter.model.intent import Hold
    from lamplighter.model.run import Direction, Result, Transition

Row = tuple[object, ...]
T = TypeVar("T")

#: Of the runs that have ended, the newest so many are kept, however young the others are.
RUNS_KEPT = 10_000

#: How many runs are pruned at once: nobody waits long for it, and each run adds only one.
RUNS_PRUNED = 100

_SEEN = "UPDATE intents_seen SET number = max(number, ?)"


class _Write(NamedTuple):
    """One statement that waits for the next commit, for a row or several, and who waits for it."""

    statement: str
    rows: tuple[Row, ...]
    done: asyncio.Future[int]


class Journal:
    """The journal of one host. One process writes it at a time (``host/lock``); many may read."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directory: Path,
        executor: ThreadPoolExecutor | None,
    ) -> None:
        """Take over an open connection; ``Journal.open`` makes one."""
        self._connection = connection
        self._path = directory / FILE_NAME
        self._identity = self._file_identity()
        self._executor = executor
        self._waiting: list[_Write] = []
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, directory: Path, *, threaded: bool = True) -> Journal:
        """Open ``state.db`` in this directory, creating both; raise ``JournalError``.

        One that is damaged or gone is begun again: see ``host/journal/database``.
        """
        connection = open_writer(directory)
        executor = ThreadPoolExecutor(1, thread_name_prefix="journal") if threaded else None
        return cls(connection, directory, executor)

    async def begin(
        self, direction: Direction, boot_id: str, started: datetime, intents: int = 0
    ) -> int:
        """Write that a run begins; return its number. Raise ``JournalError``.

        ``intents`` is the number of the intents that it goes by.
        """
        run, _ = await asyncio.gather(
            self._write(
                "INSERT INTO run (direction, boot_id, started) VALUES (?, ?, ?)",
                (direction.value, boot_id, started.isoformat()),
            ),
            self._write(_SEEN, (intents,)),
        )
        return run

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

    async def record_holds(self, *holds: Hold, intents: int = 0) -> None:
        """Write that domains are held from now on, for history; a new reason replaces an old one.

        ``intents`` is the number of the intents that hold them. Raise ``JournalError``.
        """
        if holds:
            await self._write(_SEEN, (intents,))
            await self._write(
                "INSERT INTO past_hold (domain, name, reason, said_by, at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (domain) WHERE released IS NULL DO UPDATE "
                "SET reason = excluded.reason, said_by = excluded.said_by, at = excluded.at",
                *(
                    (
                        storable(one.domain),
                        storable(one.name),
                        storable(one.reason),
                        storable(one.said_by),
                        one.at.isoformat(),
                    )
                    for one in holds
                ),
            )

    async def record_release(
        self, domain: str | None, said_by: str, at: datetime, intents: int = 0
    ) -> None:
        """Write that a domain is not held any more, for history; ``domain`` is its key.

        None: no domain is. ``intents`` is the number of the intents without the hold.
        """
        key = None if domain is None else storable(domain)
        await self._write(_SEEN, (intents,))
        await self._write(
            "UPDATE past_hold SET released = ?1, released_by = ?2 "
            "WHERE (?3 IS NULL OR domain = ?3) AND released IS NULL",
            (at.isoformat(), storable(said_by), key),
        )

    async def tidy(self, before: datetime) -> None:
        """Prune history, and check a large database as a whole; raise ``JournalError``.

        Runs that ended before that moment go, and those beyond ``RUNS_KEPT``; so do the holds that
        were released by then. Runs of this boot stay, because a clock may be wrong until it is set.
        Not for a moment in which the power may be going.
        """
        old = (
            "(SELECT id FROM run WHERE ended IS NOT NULL AND (julianday(ended) < julianday(?1) "
            "AND boot_id != (SELECT boot_id FROM run ORDER BY id DESC LIMIT 1) OR id <= "
            "(SELECT id FROM run ORDER BY id DESC LIMIT 1 OFFSET ?2)) "
            f"ORDER BY id LIMIT {RUNS_PRUNED})"
        )
        values = (before.isoformat(), RUNS_KEPT)
        await asyncio.gather(
            self._write(f"DELETE FROM transition WHERE run IN {old}", values),
            self._write(f"DELETE FROM result WHERE run IN {old}", values),
            self._write(f"DELETE FROM run WHERE id IN {old}", values),
            self._write(
                "DELETE FROM past_hold WHERE julianday(released) < julianday(?)", values[:1]
            ),
        )
        await self._in_thread(self._check_large)

    async def close(self) -> None:
        """Finish what waits and close the database; a write after this is a ``JournalError``."""
        while self._writer is not None:
            await self._writer
        if self._executor is not None:
            self._executor.shutdown()
        self._connection.close()

    async def _write(self, statement: str, *rows: Row) -> int:
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
                try:
                    answers = await self._in_thread(partial(self._commit, group))
                except JournalError as closed:
                    answers = [closed] * len(group)
                except (OverflowError, ValueError) as error:  # a value that no database takes
                    refused = JournalError(f"the journal {self._path} does not take it: {error}")
                    answers = [refused] * len(group)
                for write, answer in zip(group, answers, strict=True):
                    if write.done.done():  # who waited was cancelled; it is written all the same
                        continue
                    if isinstance(answer, JournalError):
                        # One error may answer many; each gets its own traceback.
                        write.done.set_exception(type(answer)(answer.message, hint=answer.hint))
                    else:
                        write.done.set_result(answer)
        finally:
            self._writer = None
            for write in (*group, *self._waiting):
                write.done.cancel()  # no effect unless the loop is being torn down

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Call something that waits for the disk, where the loop does not wait with it."""
        if self._executor is None:
            return call()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except RuntimeError as error:  # the executor was shut down
            raise self._closed() from error

    def _commit(self, group: Sequence[_Write]) -> list[int | JournalError]:
        """Write a group in one transaction; return each one's row number or error."""
        if self._file_identity() != self._identity:
            moved = JournalError(
                f"the journal {self._path} was moved or removed while it was written to",
                hint="the next run begins a new one where it was; this run's record is not in it",
            )
            return [moved] * len(group)
        answers: list[int | JournalError] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in group:
                inserted: int | JournalError = 0
                try:
                    for row in write.rows:
                        inserted = self._connection.execute(write.statement, row).lastrowid or 0
                except sqlite3.IntegrityError as error:
                    # SQLite has undone this statement alone; the group's others are not affected.
                    inserted = journal_error(error, self._path, "written")
                answers.append(inserted)
            self._connection.execute("COMMIT")
        except sqlite3.ProgrammingError:
            return [self._closed()] * len(group)
        except sqlite3.Error as error:
            # A full disk may have rolled it back already; the next BEGIN will tell.
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            return [journal_error(error, self._path, "written")] * len(group)
        return answers

    def interrupt(self) -> None:
        """Have what ``tidy`` is doing end at once, with a ``JournalError``; from any thread."""
        self._connection.interrupt()

    def _check_large(self) -> None:
        try:
            if self._path.stat().st_size <= SMALL:  # it was checked when it was opened
                return
            check_whole(self._connection, self._path)
        except OSError as error:
            raise JournalError(f"the journal {self._path} cannot be read: {error}") from error
        except sqlite3.Error as error:
            failure = journal_error(error, self._path, "read")
            if not isinstance(failure, JournalDamaged):
                raise failure from error
            self._put_aside(failure)
        except JournalDamaged as damage:
            self._put_aside(damage)

    def _put_aside(self, damage: JournalDamaged) -> NoReturn:
        raise JournalDamaged(
            f"{damage.message}; it is kept as {put_aside(self._path)}",
            hint="the next run begins a new one; history forgets the runs before it",
        ) from damage

    def _file_identity(self) -> tuple[int, int] | None:
        """Return which file has the journal's name now; None: none has."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _closed(self) -> JournalError:
        return JournalError(f"the journal {self._path} is closed")


def storable(text: str) -> str:
    """Make lone surrogates, which no database takes, readable escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
