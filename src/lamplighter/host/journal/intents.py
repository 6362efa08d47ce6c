"""Intents and holds: their tables in the journal, and the copy of them in a file beside it.

Past runs are history, and to lose them is a pity. Intents and holds decide: to forget that a domain
is held may start it over a disk that is being repaired, and not to know leaves the whole host down.
So there are two of them, and a journal that is damaged or gone is begun again from the copy. Both
are written in one transaction, the copy just before the journal's own commit, so what was promised
to be kept is in both. A process that is cut off in between has promised nothing, and the next run
makes the copy follow the journal.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import format_intents, parse_intents
from lamplighter.host.files.writing import write_whole
from lamplighter.model.intent import Hold, Intent, Intents, Meant

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

#: The copy inside the state directory.
FILE_NAME = "intent.json"

Row = tuple[object, ...]

MEANT = "SELECT domain, name, meant, reason, said_by, at, boot_id, domid FROM intent"

HELD = "SELECT domain, name, reason, said_by, at FROM hold WHERE released IS NULL"

INTEND = (
    "INSERT OR REPLACE INTO intent (domain, name, meant, reason, said_by, at, boot_id, domid) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

HOLD = (
    "INSERT INTO hold (domain, name, reason, said_by, at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (domain) WHERE released IS NULL "
    "DO UPDATE SET reason = excluded.reason, said_by = excluded.said_by, at = excluded.at"
)

RELEASE = "UPDATE hold SET released = ?, released_by = ? WHERE domain = ? AND released IS NULL"

#: What changes intents and holds.
WORDS = frozenset({INTEND, HOLD, RELEASE})


def read_copy(directory: Path) -> Intents | None:
    """Return what the copy says; None when there is none; raise ``JournalError``."""
    path = directory / FILE_NAME
    try:
        return parse_intents(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        told = (error.strerror if isinstance(error, OSError) else None) or error
        raise JournalError(
            f"the copy of intents and holds, {path}, cannot be read: {told}",
            hint=f"if no domain is held, move it aside (mv {path} {path}.old)",
        ) from error


def write_copy(directory: Path, intents: Intents) -> None:
    """Write the copy, whole or not at all; raise ``JournalError``."""
    path = directory / FILE_NAME
    try:
        write_whole(path, format_intents(intents).encode(), 0o600)
    except OSError as error:
        raise JournalError(
            f"the copy of intents and holds, {path}, cannot be written: {error.strerror}",
            hint="make room on its file system (df shows), and see that it is not read-only",
        ) from error


def copy_is_whole(directory: Path) -> bool:
    """Say whether there is a copy that can be relied on."""
    try:
        return read_copy(directory) is not None
    except JournalError:
        return False


def intent_values(intent: Intent) -> Row:
    """Return what ``INTEND`` takes."""
    return (
        storable(intent.domain),
        storable(intent.name),
        intent.meant.value,
        storable(intent.reason),
        storable(intent.said_by),
        intent.at.isoformat(),
        intent.boot_id,
        intent.domid,
    )


def hold_values(hold: Hold) -> Row:
    """Return what ``HOLD`` takes."""
    texts = (hold.domain, hold.name, hold.reason, hold.said_by)
    return (*map(storable, texts), hold.at.isoformat())


def said(connection: sqlite3.Connection) -> Intents:
    """Return all that the tables hold now; raise ``sqlite3.Error`` or ``ValueError``."""
    meant, holds = connection.execute(MEANT).fetchall(), connection.execute(HELD).fetchall()
    return to_intents(meant, holds)


def say(connection: sqlite3.Connection, intents: Intents) -> None:
    """Write all of these into the tables; raise ``sqlite3.Error``."""
    connection.executemany(INTEND, map(intent_values, intents.meant.values()))
    connection.executemany(HOLD, map(hold_values, intents.holds.values()))


def to_intents(meant: list[Row], holds: list[Row]) -> Intents:
    """Make intents of what ``MEANT`` and ``HELD`` answer; raise ``ValueError``."""
    intents = [_intent(row) for row in meant]
    held = [to_hold(row) for row in holds]
    return Intents({one.domain: one for one in intents}, {one.domain: one for one in held})


def to_hold(row: Row) -> Hold:
    """Make a hold of the columns that ``HELD`` asks for; raise ``ValueError``."""
    return Hold(str(row[0]), str(row[1]), str(row[2]), str(row[3]), _at(row[4]))


def storable(text: str) -> str:
    """Make lone surrogates, which no database takes, readable escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _intent(row: Row) -> Intent:
    return Intent(
        str(row[0]),
        str(row[1]),
        Meant(row[2]),
        str(row[3]),
        str(row[4]),
        _at(row[5]),
        str(row[6]),
        None if row[7] is None else int(str(row[7])),
    )


def _at(value: object) -> datetime:
    return datetime.fromisoformat(str(value))
