"""The journal's database: its tables, how they grow with versions, how it is opened.

``PRAGMA user_version`` counts the migrations a file has seen; ``MIGRATIONS[n]`` leads from version
n to n + 1, and a file with a higher version than this list is refused rather than guessed at.

Write-ahead logging, so that a reader never holds up a run, with ``synchronous = FULL``, so that a
commit is on the disk when it returns: one fsync for each.

A transition is written before the action it announces and holds the domid, which names the
incarnation the action was meant for. That is all a recovery needs: a run without ``ended``
whose lock nobody holds has died, and the newest transition of each domain in it says which action
may or may not have been done. A run with ``ended`` and without ``exit`` died, and a later one
finished its record.

``intent`` and ``hold`` are what was last asked for (``model/intent``), keyed by what a definition
is known by, so that they outlive domids and boots. A hold that was released keeps its row: who
held a domain, and who let it go, is a part of its history.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from lamplighter.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

#: The database inside the state directory.
FILE_NAME = "state.db"

#: Marks a database as ours ("LAMP"), so that somebody else's is never written to.
APPLICATION_ID = 0x4C414D50

#: Seconds a writer waits for another one, and a reader for a checkpoint.
BUSY_SECONDS = 10.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE run (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            direction TEXT NOT NULL,
            boot_id TEXT NOT NULL,
            started TEXT NOT NULL,
            ended TEXT,
            exit INTEGER
        )
        """,
        """
        CREATE TABLE transition (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL REFERENCES run (id),
            name TEXT NOT NULL,
            uuid TEXT,
            domid INTEGER,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            detail TEXT NOT NULL,
            at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE result (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL REFERENCES run (id),
            name TEXT NOT NULL,
            uuid TEXT,
            domid INTEGER,
            outcome TEXT NOT NULL,
            seconds REAL NOT NULL,
            note TEXT NOT NULL,
            good INTEGER NOT NULL,
            at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE intent (
            domain TEXT PRIMARY KEY,
            wanted TEXT NOT NULL CHECK (wanted IN ('up', 'down', 'held')),
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL
        )
        """,
        "CREATE INDEX run_by_boot ON run (boot_id)",
        "CREATE INDEX transition_by_domain ON transition (run, name)",
        "CREATE INDEX result_by_domain ON result (run, name)",
    ),
    (
        "ALTER TABLE intent RENAME TO intent_1",
        """
        CREATE TABLE intent (
            domain TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            meant TEXT NOT NULL CHECK (meant IN ('up', 'down')),
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL,
            boot_id TEXT NOT NULL,
            domid INTEGER
        )
        """,
        """
        CREATE TABLE hold (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            domain TEXT NOT NULL,
            name TEXT NOT NULL,
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL,
            released TEXT,
            released_by TEXT
        )
        """,
        "CREATE UNIQUE INDEX hold_in_force ON hold (domain) WHERE released IS NULL",
        """
        INSERT INTO intent
        SELECT domain, domain, wanted, reason, said_by, at, '', NULL FROM intent_1
        WHERE wanted IN ('up', 'down')
        """,
        """
        INSERT INTO hold (domain, name, reason, said_by, at)
        SELECT domain, domain, reason, said_by, at FROM intent_1 WHERE wanted = 'held'
        """,
        "DROP TABLE intent_1",
    ),
)

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


def open_writer(directory: Path) -> sqlite3.Connection:
    """Open the database for writing, creating directory and tables; raise ``JournalError``."""
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it by the umask; its -wal and -shm take the mode over from it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be opened: {error.strerror}",
            hint="[host] state must name a directory this user may read and write",
        ) from error
    connection = _connect(path, "rw")
    try:
        # Before anything is written: a stranger's database must stay as it is.
        _check_owner(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise journal_error(error, path, "opened") from error
    except JournalError:
        connection.close()
        raise
    return connection


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
    return JournalError(message, hint=_ADVICE.get(code, _MOVE_ASIDE.format(path=path)))


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
    """Raise ``JournalError`` for another program's database and for one of a later version."""
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if marked != APPLICATION_ID and tables:
        raise JournalError(
            f"{path} is a database, but not Lamplighter's",
            hint=_MOVE_ASIDE.format(path=path),
        )
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {path} was written by a newer Lamplighter: it has version {version}, "
            f"this one knows {len(MIGRATIONS)}",
            hint=f"use the newer Lamplighter, or {_MOVE_ASIDE.format(path=path)}",
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_owner(connection, path)
        for version in range(_version(connection), len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except (sqlite3.Error, JournalError):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
