"""``intent.json`` in the state directory: intents and holds, which decide what is started.

The file is replaced as a whole, under a lock, and the one before it stays beside it for a person
who has lost the newer one. Readers need no lock. Nothing here guesses: a text that is torn,
unreadable or of a newer version is a ``JournalError``, and "not known" never means "not held". The
same holds for what somebody else could have written, and for a folder whose file system is not
mounted. A link is not followed: replacing the file would replace the link.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError, HostBusy, JournalError, JournalForeign
from lamplighter.formats.state_json import NewerDocument, format_intents, parse_intents
from lamplighter.host.files.mounts import missing_mount
from lamplighter.host.files.trust import Walk, check_entry, nearest_existing
from lamplighter.host.files.writing import write_whole
from lamplighter.host.lock import hold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lamplighter.host.files.trust import Distrust
    from lamplighter.model.clock import Clock
    from lamplighter.model.intent import Intents

#: The file inside the state directory, the one before it, and the lock of those who change it.
FILE_NAME = "intent.json"
BEFORE = "intent.json.before"
LOCK = "intent.lock"

#: In the run directory: intents and holds were kept in this boot of the host.
TRACE = "intents.kept"

#: Host seconds that a change waits for another one, and between two attempts.
LOCK_SECONDS = 10.0
LOCK_PAUSE = 0.05


def load(directory: Path) -> Intents | None:
    """Return what the file says; None when there is no file. Raise ``JournalError``."""
    return load_from(directory / FILE_NAME)


def load_from(path: Path, *, trusted: bool = True) -> Intents | None:
    """Return what such a file says, as ``load`` does; not ``trusted``: whoever has written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a file")
            _believe(path, check_entry(descriptor, status, path, _owners()) if trusted else None)
            return parse_intents(file.read())
    except FileNotFoundError:
        return None
    except NewerDocument as error:
        raise JournalForeign(
            f"{path} was written by a newer Lamplighter: {error}",
            hint="use the newer Lamplighter; it alone knows which domains must not be started",
        ) from error
    except (OSError, ValueError) as error:
        _refuse_link(path)
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise JournalError(
            f"intents and holds cannot be read from {path}: {reason}",
            hint=hint_for(path.parent),
        ) from error


def check_mounted(directory: Path) -> None:
    """Raise ``JournalError`` where the file system that the folder should be on is not mounted."""
    point = missing_mount(directory)
    if point is not None:
        raise JournalError(
            f"intents and holds are not known: nothing is mounted on {point}, as /etc/fstab has it",
            hint=f"mount {point}; if it is mounted late: After= in lamplighter-domains.service",
        )


def check_folder(directory: Path) -> None:
    """Raise ``JournalError`` where what is in this folder, or is not, must not be believed."""
    check_mounted(directory)
    try:
        with Walk(nearest_existing(directory), _owners()) as walk:
            _believe(directory / FILE_NAME, walk.distrust)
    except OSError:
        pass  # then what is in it cannot be read either, and that is reported


def _owners() -> set[int]:
    return {0, os.geteuid()}


def _believe(path: Path, distrust: Distrust | None) -> None:
    if distrust is not None:
        message = f"intents and holds in {path} are not believed: {distrust}"
        raise JournalError(message, hint=distrust.hint)


def _refuse_link(path: Path) -> None:
    target = None
    with suppress(OSError):  # it is not a link, or cannot be seen
        target = path.readlink()
    if target is not None:
        raise JournalError(
            f"intents and holds cannot be kept in {path}: it is a link to {target}",
            hint="put the file itself in its place; [host] state names the folder that has it",
        )


def hint_for(directory: Path, first: str = "run as root") -> str:
    """Return what a person can do where the file cannot be relied on."""
    return (
        f"{first}; or if {BEFORE} is right, which has what was held before the last change: "
        f"cp {directory / BEFORE} {directory / FILE_NAME} and lamplighter release --accept; "
        "if no domain is held: lamplighter release --all"
    )


def store(directory: Path, intents: Intents) -> None:
    """Replace the file, and keep the one before it; raise ``JournalError``."""
    path = directory / FILE_NAME
    check_folder(directory)
    _refuse_link(path)
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
    check_mounted(directory)  # before the lock is created there
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
