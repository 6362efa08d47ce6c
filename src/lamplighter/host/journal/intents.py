"""A copy of intents and holds, in a file beside the journal.

Runs that are past are history: to lose them is a pity. What was said of domains is not: to forget
that one is held may start it over a disk that is being repaired, and not to know it leaves the
whole host down. So there are two of it, and a journal that is damaged or gone is begun anew from
the copy. The two are written in one transaction, the copy just before the journal's own commit, so
that what was promised to be kept is in both. Whoever is cut off in between has promised nothing,
and the next run makes the copy follow the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import format_intents, parse_intents
from lamplighter.host.files.writing import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from lamplighter.model.intent import Intents

#: The copy inside the state directory.
FILE_NAME = "intent.json"


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
