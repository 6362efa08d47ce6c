"""The lock: one run at a time on a host.

It is an advisory lock (``flock``) on ``lock`` in the run directory, so the kernel lets go of it
when its holder dies, however it dies. The file is never removed: a second process could hold a
lock on the removed file while a third locks a new one. It is open to its owner alone, because
whoever may read a file may lock it, and a user who could would hold up the host's stop.

The file says who holds it, for the message a second run gets, and for the host's stop, which tells
the holder to end. That text is only believed of a process that lives and began when the text says:
a holder that died leaves its text behind, and a new one holds the lock for a moment before it has
written its own. A holder that lets go takes its text away first, so that nobody is told to end for
what another one holds.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ConfigurationError, HostBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

#: The lock inside the run directory.
FILE_NAME = "lock"

#: More than any holder writes; the rest of a strange file is not read.
_LIMIT = 4096


class Holder(NamedTuple):
    """A run that holds a host: its process, when that began (ticks since boot), and in words.

    ``command`` is ``up``, ``down`` or another word of the command line.
    """

    pid: int
    began: str
    told: str
    command: str = ""


@contextmanager
def hold_host(directory: Path, *, command: str, since: datetime) -> Iterator[None]:
    """Hold the host for the length of the block.

    Raises ``HostBusy`` (who, since when) when another process holds it, and
    ``ConfigurationError`` when the run directory cannot be used. A missing one is created.
    """
    path = directory / FILE_NAME
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostBusy(
                f"another run holds this host: {_describe_holder(descriptor)}",
                hint="wait until it has ended; lamplighter status shows where the domains are",
            ) from None
        except OSError as error:
            raise _unusable(path, error) from error
        _write_holder(descriptor, path, command, since)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)  # and the lock is gone


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    return descriptor


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the host's lock cannot be taken: {error.strerror}",
        where=str(path),
        hint="run as root, or let [host] run name a directory this user may write",
    )


def _write_holder(descriptor: int, path: Path, command: str, since: datetime) -> None:
    holder = {
        "pid": os.getpid(),
        "began": _began(os.getpid()),
        "user": _user(),
        "command": command,
        "since": since.isoformat(timespec="seconds"),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise _unusable(path, error) from error


def read_holder(directory: Path) -> Holder | None:
    """Return who holds the host, or None when nobody does or it cannot be told who.

    What another user may have written is not believed: it would choose who is told to end.
    """
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        mine = os.fstat(descriptor).st_uid == os.geteuid()
        return _read_holder(descriptor) if mine else None
    finally:
        os.close(descriptor)


def signal_holder(holder: Holder, number: signal.Signals) -> bool:
    """Send a signal to this very process; say whether it was there to be sent one.

    Its number may have been given to another process meanwhile. So a descriptor of whatever has the
    number now is opened, and only when the process with that number still is the one that began
    when the holder did is the signal sent, through that descriptor. Never to ourselves. Raises
    ``PermissionError``.
    """
    if holder.pid == os.getpid():
        return False
    try:
        descriptor = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return False
    try:
        if _began(holder.pid) != holder.began:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _describe_holder(descriptor: int) -> str:
    """Say who holds the lock, as far as that can be believed."""
    holder = _read_holder(descriptor)
    return holder.told if holder is not None else "it has not said yet who it is"


def _read_holder(descriptor: int) -> Holder | None:
    try:
        holder = json.loads(os.pread(descriptor, _LIMIT, 0))
        pid, began = int(holder["pid"]), holder["began"]
        told = "{command} (pid {pid}, {user}), since {since}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if pid <= 0 or began is None or began != _began(pid):
        return None
    return Holder(pid, began, told, str(holder["command"]))


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's ticks since boot; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may hold anything: field 22 is the 20th after it.
    fields = stat.rpartition(b")")[2].split()
    return fields[19].decode("ascii", "replace") if len(fields) > 19 else None


def _user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


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
