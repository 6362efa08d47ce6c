"""A program that outlives the command that starts it, and how one knows that it is still there.

The program runs in a session of its own, so that no terminal and no signal to the command's group
reaches it, with nothing to read and a file to write to. While it lives it holds a lock on a file;
the kernel lets go of that when it ends, however it ends, so the lock says more than any process
id: a socket without the lock is left over, and a lock without an answer is a program that hangs.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError, HostBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How many bytes of the end of a log are worth telling.
TAIL = 2000


def spawn(argv: tuple[str, ...], log: Path) -> int:
    """Start a program that lives on; its output is appended to ``log``. Return its process id.

    Raises ``ConfigurationError`` when the log cannot be written, ``OSError`` when the program
    cannot be started.
    """
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"the log cannot be written: {error.strerror}"
        raise ConfigurationError(message, where=str(log)) from error
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(output)


def ended(pid: int) -> int | None:
    """Return the exit status of a child that has ended, negative for a signal; None if it lives.

    One that is not (or no longer) a child of this process counts as alive.
    """
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if reaped else None


def last_words(log: Path) -> str:
    """Return the last line of a log, or nothing."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read(TAIL).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


@contextmanager
def hold(lock: Path, what: str = "runs this host") -> Iterator[None]:
    """Hold a lock for the length of the block; ``HostBusy`` when another process does.

    ``what`` its holder does is for the message.
    """
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        message = f"the lock cannot be taken: {error.strerror}"
        raise ConfigurationError(message, where=str(lock)) from error
    try:
        if not _take(descriptor):
            raise HostBusy(f"another process {what} and holds {lock}")
        yield
    finally:
        os.close(descriptor)


def is_held(lock: Path) -> bool:
    """Say whether a living process holds a lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
