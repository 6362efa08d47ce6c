"""Opening the journal's database, and beginning a new one where it is damaged or gone.

The journal is history: what decides is in ``intent.json``. So there are four kinds of a database:

- It is whole, perhaps of an earlier version: it is migrated, in one transaction. Versions 1 and 2
  kept intents and holds in it, which are carried over in that transaction (``carry_over``).
- There is none, or an empty file: a new one is begun.
- It is damaged: it is kept aside under a name of its own, and a new one is begun.
- It is a newer Lamplighter's, or another program's: ``JournalForeign``. It is neither written to
  nor moved.

A small one is checked as a whole (``PRAGMA quick_check``) when it is opened for writing. A larger
one is checked at the end of a run (``Journal.tidy``), because nothing that a run reads before it
begins may grow with the history.

A damaged journal's write-ahead log and index go with it, and go first: a log that stayed behind
would be played into the new database. One process does it at a time; a process that waited checks
again, because the journal may have been begun again meanwhile. Readers move nothing, and wait for
nobody.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from lamplighter.errors import JournalDamaged, JournalError, JournalForeign
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal import intent_file
from lamplighter.host.journal.schema import APPLICATION_ID, FILE_NAME, MIGRATIONS
from lamplighter.host.lock import take
from lamplighter.model.intent import Hold, Intent, Intents, Meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Seconds a writer waits for another one, and a reader for a checkpoint.
BUSY_SECONDS = 10.0

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_ADVICE = {
    sqlite3.SQLITE_FULL: "make room on the file system that holds it",
    sqlite3.SQLITE_READONLY: "it must be writable: mount its file system read-write, run as root",
    sqlite3.SQLITE_CANTOPEN: "[host] state must name a directory this user may read and write",
    sqlite3.SQLITE_PERM: "[host] state must name a directory this user may read and write",
    sqlite3.SQLITE_IOERR: "its file system is full (df shows) or its disk fails (dmesg shows)",
    sqlite3.SQLITE_BUSY: "another program keeps it locked: fuser -v shows which",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked: fuser -v shows which",
}

_MOVE_ASIDE = "move it aside (mv {path} {path}.old): a new one is begun, the old one keeps its past"

_BEGUN = "a new one is begun; history forgets the runs before this one"

_WILL_RENEW = (
    "the next lamplighter up or down keeps it aside and begins a new one; intents and holds are in "
    "{file} and stay"
)

#: Bytes up to which a database is checked as a whole whenever it is opened for writing.
SMALL = 16 << 20

#: What SQLite keeps beside a database, and the database itself, which goes last.
SUFFIXES = ("-shm", "-wal", "")


def open_writer(directory: Path) -> sqlite3.Connection:
    """Open the database for writing, creating directory and tables; raise ``JournalError``.

    One that is damaged or gone is begun again, and that is logged.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _open(path)
        except JournalDamaged:
            with exclusive(directory) as folder:
                return _begin_again(path, folder)
    except OSError as error:
        raise _unopened(path, error) from error


def carry_over(directory: Path, keep: Callable[[], None]) -> None:
    """Migrate a database of version 1 or 2; ``keep`` puts the intents of its tables into a file.

    While ``keep`` reads and writes, nobody else writes to the tables, and then they are gone: what
    a process of the earlier version says meanwhile is carried over, too, or fails there. Raises
    ``JournalError``; a damaged database is not begun again here.
    """
    try:
        _open(directory / FILE_NAME, keep=keep).close()
    except OSError as error:
        raise _unopened(directory / FILE_NAME, error) from error


def _begin_again(path: Path, folder: int) -> sqlite3.Connection:
    """Put a damaged database aside and begin a new one, unless somebody else has just done so."""
    try:
        return _open(path)
    except JournalDamaged as damage:
        aside = quarantine(folder, path, LoopClock().wall())
        message = f"{damage.message}; it is kept as {aside}"
    try:
        connection = _open(path, begun_again=True)
    except JournalError as error:
        raise JournalError(f"{message}; {error.message}", hint=error.hint) from error
    logger.warning("%s\n  %s", message, _BEGUN)
    return connection


def put_aside(path: Path) -> Path:
    """Put a database that was found to be damaged aside; return its new name.

    The next that opens it for writing begins a new one. Raises ``JournalError``.
    """
    with exclusive(path.parent) as folder:
        return quarantine(folder, path, LoopClock().wall())


def open_reader(directory: Path) -> sqlite3.Connection | None:
    """Open the database for reading only; None when there is none yet; raise ``JournalError``.

    It never waits for a run that writes, and works on a read-only file system.
    """
    path = directory / FILE_NAME
    try:
        if path.stat().st_size == 0:
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be read: {error.strerror}",
            hint="run as a user who may read it, such as root",
        ) from error
    # Without -shm beside it, a reader of a WAL database would have to create one.
    writable = os.access(directory, os.W_OK, effective_ids=True)
    frozen = not writable and not path.with_name(f"{FILE_NAME}-wal").exists()
    connection = _connect(path, "ro", immutable=frozen)
    try:
        _check_owner(connection, path)
        if _version(connection) == 0:  # created, and its maker died before the first table
            connection.close()
            return None
    except sqlite3.Error as error:
        connection.close()
        raise journal_error(error, path, "read") from error
    except JournalError:
        connection.close()
        raise
    return connection


def journal_error(error: sqlite3.Error, path: Path, done: str) -> JournalError:
    """Put what SQLite says into our words; ``done`` is what could not be done to the file."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    message = f"the journal {path} cannot be {done}: {error}"
    if code in _DAMAGE:
        return _damaged(message, path)
    return JournalError(message, hint=_ADVICE.get(code, _MOVE_ASIDE.format(path=path)))


def _unopened(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be opened: {error.strerror}",
        hint="[host] state must name a directory this user may read and write",
    )


def _damaged(message: str, path: Path) -> JournalDamaged:
    file = path.with_name(intent_file.FILE_NAME)
    return JournalDamaged(message, hint=_WILL_RENEW.format(file=file))


def _open(
    path: Path, *, begun_again: bool = False, keep: Callable[[], None] | None = None
) -> sqlite3.Connection:
    """Open the database; ``begun_again``: that a new one is begun is no news.

    ``keep`` is as in ``carry_over``.
    """
    # SQLite would create it by the umask; its -wal and -shm take the mode over from it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _connect(path, "rw")
    try:
        # Before anything is written: a stranger's database must stay as it is.
        _check_owner(connection, path)
        if path.stat().st_size <= SMALL:
            check_whole(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        is_new = _migrate(connection, path, keep)
    except sqlite3.Error as error:
        connection.close()
        raise journal_error(error, path, "opened") from error
    except JournalError:
        connection.close()
        raise
    if is_new and not begun_again:
        with suppress(JournalError):
            known = intent_file.load(path.parent)
            # The file's own beginning is change number 1, and comes before the journal's.
            if known is not None and known.number > 1:
                logger.warning("the journal %s is gone\n  %s", path, _BEGUN)
    return connection


def _connect(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"file:{quote(os.fspath(path))}?mode={mode}" + ("&immutable=1" if immutable else "")
    try:
        return sqlite3.connect(
            uri,
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise journal_error(error, path, "opened") from error


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``JournalForeign`` for another program's database and for one of a later version."""
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if marked != APPLICATION_ID and tables:
        raise JournalForeign(
            f"{path} is a database, but not Lamplighter's",
            hint=_MOVE_ASIDE.format(path=path),
        )
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise JournalForeign(
            f"the journal {path} was written by a newer Lamplighter: it has version {version}, "
            f"this one knows {len(MIGRATIONS)}",
            hint="use the newer Lamplighter; it alone knows which domains must not be started",
        )


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Look a whole database through; raise ``JournalDamaged``, or what SQLite raises."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damaged(f"the journal {path} is damaged: {' '.join(found.split())}", path)


def _migrate(connection: sqlite3.Connection, path: Path, keep: Callable[[], None] | None) -> bool:
    """Bring the tables up to date; return whether there were none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_owner(connection, path)
        before = _version(connection)
        if before in (1, 2):
            if keep is not None:
                keep()
            _check_carried_over(path)
        for version in range(before, len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except (sqlite3.Error, JournalError):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return before == 0


def _check_carried_over(path: Path) -> None:
    """Refuse to drop the tables of intents before the file has what they say."""
    known = intent_file.load(path.parent)
    if known is None or not known.number:
        raise JournalError(
            f"the intents and holds in {path} have not been carried over to a file of their own",
            hint=f"see that {path.with_name(intent_file.FILE_NAME)} can be written",
        )


def table_intents(connection: sqlite3.Connection, path: Path) -> tuple[Intents | None, int]:
    """Return what versions 1 and 2 kept in tables, None in a later one; and what runs have seen.

    The latter is the highest ``Intents.number`` that a record went by. Raises ``JournalError``.
    """
    try:
        version = _version(connection)
        if version == 1:
            # All rows at once: a statement that is not at its end would keep the database locked.
            rows = connection.execute(
                "SELECT domain, wanted, reason, said_by, at FROM intent"
            ).fetchall()
            meant, holds = [], []
            for domain, wanted, reason, said_by, at in rows:
                moment = datetime.fromisoformat(at)
                if wanted == "held":
                    holds.append(Hold(domain, domain, reason, said_by, moment))
                else:
                    meant.append(Intent(domain, domain, Meant(wanted), reason, said_by, moment))
        elif version == 2:
            meant = [
                Intent(
                    row[0],
                    row[1],
                    Meant(row[2]),
                    row[3],
                    row[4],
                    datetime.fromisoformat(row[5]),
                    row[6],
                    row[7],
                )
                for row in connection.execute(
                    "SELECT domain, name, meant, reason, said_by, at, boot_id, domid FROM intent"
                ).fetchall()
            ]
            holds = [
                Hold(row[0], row[1], row[2], row[3], datetime.fromisoformat(row[4]))
                for row in connection.execute(
                    "SELECT domain, name, reason, said_by, at FROM hold WHERE released IS NULL"
                ).fetchall()
            ]
        else:
            (seen,) = connection.execute("SELECT max(number) FROM intents_seen").fetchone()
            return None, int(seen or 0)
    except sqlite3.Error as error:
        raise journal_error(error, path, "read") from error
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"the journal {path} holds an intent or hold that cannot be read: {error}",
            hint="lamplighter history may tell what was held; if nothing is held, "
            "lamplighter release --all",
        ) from error
    return Intents({one.domain: one for one in meant}, {one.domain: one for one in holds}), 0


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextmanager
def exclusive(directory: Path) -> Iterator[int]:
    """Be the only one who moves files in this directory; yield a descriptor of it.

    Raises ``JournalError``.
    """
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot(directory, error) from error
    try:
        take(folder, wait=True)
        yield folder
    finally:
        os.close(folder)  # and the lock is gone


def quarantine(folder: int, path: Path, at: datetime) -> Path:
    """Rename a database and what belongs to it; return its new name. Raise ``JournalError``.

    ``folder`` is a descriptor of the directory that holds ``path``, from ``exclusive``. A link is
    left alone: an administrator made it, and the file that it names is somewhere else.
    """
    try:
        if stat.S_ISLNK(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise JournalError(
                f"{path} is damaged, and a link to {path.readlink()}: it is not moved",
                hint="move the damaged file aside yourself; a new one is then begun",
            )
        taken, wanted = set(os.listdir(folder)), f"{path.name}.damaged-{at:%Y%m%dT%H%M%S}"
        name, number = wanted, 1
        while any(name + suffix in taken for suffix in SUFFIXES):
            number += 1
            name = f"{wanted}-{number}"
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                os.rename(path.name + suffix, name + suffix, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        raise _cannot(path, error) from error
    return path.with_name(name)


def _cannot(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{path} cannot be set aside: {error.strerror}",
        hint="[host] state must name a directory this user may read and write",
    )
