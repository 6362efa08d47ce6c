"""``intent.json`` in the state directory: intents and holds, which decide what is started.

The file is replaced as a whole, under a lock, and the one before it stays beside it for a person
who has lost the newer one. Readers need no lock. Nothing here guesses: a text that is torn,
unreadable or of a newer version is a ``JournalError``, and "not known" never means "not held".
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError, HostBusy, JournalError, JournalForeign
from lamplighter.formats.state_json import NewerDocument, format_intents, parse_intents
from lamplighter.host.files.writing import write_whole
from lamplighter.host.lock import hold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lamplighter.model.clock import Clock
    from lamplighter.model.intent import Intents

#: The file inside the state directory, the one before it, and the lock of those who change it.
FILE_NAME = "intent.json"
BEFORE = "intent.json.before"
LOCK = "intent.lock"

#: Host seconds that a change waits for another one, and between two attempts.
LOCK_SECONDS = 10.0
LOCK_PAUSE = 0.05


def load(directory: Path) -> Intents | None:
    """Return what the file says; None when there is no file. Raise ``JournalError``."""
    return load_from(directory / FILE_NAME)


def load_from(path: Path) -> Intents | None:
    """Return what such a file says, as ``load`` does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is not a file")
            return parse_intents(file.read())
    except FileNotFoundError as error:
        if not path.is_symlink():
            return None
        raise JournalError(
            f"intents and holds cannot be read: {path} is a link to a file that does not exist",
            hint="see that the file system that holds it is mounted",
        ) from error
    except NewerDocument as error:
        raise JournalForeign(
            f"{path} was written by a newer Lamplighter: {error}",
            hint="use the newer Lamplighter; it alone knows which domains must not be started",
        ) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise JournalError(
            f"intents and holds cannot be read from {path}: {reason}",
            hint=hint_for(path.parent),
        ) from error


def hint_for(directory: Path) -> str:
    """Return what a person can do where the file cannot be relied on."""
    return (
        f"run as root; or if {BEFORE} is right, which has what was held before the last change: "
        f"cp {directory / BEFORE} {directory / FILE_NAME} and lamplighter release --accept; "
        "if no domain is held: lamplighter release --all"
    )


def store(directory: Path, intents: Intents) -> None:
    """Replace the file, and keep the one before it; raise ``JournalError``."""
    path = directory / FILE_NAME
    beside = path.with_name(f".{BEFORE}.{os.urandom(4).hex()}")
    try:
        # The file gets a second name first, so that it is there at any moment, and the file before
        # it stays until the new one is on the disk.
        with suppress(FileNotFoundError):
            os.link(path, beside)
        try:
            write_whole(path, format_intents(intents).encode(), 0o600)
            with suppress(FileNotFoundError):
                beside.replace(path.with_name(BEFORE))
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(
            f"intents and holds cannot be written to {path}: {error.strerror}",
            hint="make room on its file system (df shows), and see that it is not read-only",
        ) from error


@asynccontextmanager
async def locked(directory: Path, clock: Clock) -> AsyncIterator[None]:
    """Be the only one who changes the file while the block lasts; raise ``JournalError``."""
    give_up = clock.monotonic() + LOCK_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(directory / LOCK, "changes intents and holds"))
                break
            except ConfigurationError as error:
                raise JournalError(str(error), hint=error.hint) from error
            except HostBusy as busy:
                if clock.monotonic() >= give_up:
                    raise JournalError(busy.message, hint=f"fuser -v {directory / LOCK}") from busy
            await clock.sleep(LOCK_PAUSE)
        yield
