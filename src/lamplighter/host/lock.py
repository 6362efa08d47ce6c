"""The host lock: one run at a time on a host.

It is an advisory lock (``flock``) on ``lock`` in the run directory, so the kernel releases it when
its holder dies, for whatever reason. The file is never removed: otherwise a second process could
hold a lock on the removed file while a third locks a new one. Only its owner may open it, because
a user who may read a file may lock it, and could then delay the host's stop.

The file names the holder, for the message that a second run gets and for the host's stop, which
signals the holder to end. It is believed only if the named process lives and has the recorded start
time: a holder that died leaves its text behind, and a new one holds the lock for a moment before it
has written its own. A holder truncates the file before it releases the lock, so that it is not
signalled for a lock that another process holds. Where there is no room for the text, the lock is
held without it; where there is none for the file, the folder itself is locked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ConfigurationError, HostBusy
from lamplighter.formats.state_json import get_number, get_text, parse
from lamplighter.host.machine import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

logger = logging.getLogger(__name__)

#: The lock inside the run directory.
FILE_NAME = "lock"

#: Why a file that is missing cannot be created although its folder may be written.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

#: Bytes, more than any holder writes; the rest of a foreign file is not read.
_LIMIT = 4096


class Holder(NamedTuple):
    """The run that holds a host: process id, start time in ticks since boot, and description.

    ``command`` is ``up`` or ``down``.
    """

    pid: int
    began: str
    description: str
    command: str = ""


@contextmanager
def hold_host(directory: Path, *, command: str, since: datetime) -> Iterator[None]:
    """Hold the host for the length of the block.

    Raises ``HostBusy`` (who, since when) when another process holds it, and
    ``ConfigurationError`` when the run directory cannot be used. A missing one is created.
    """
    path = directory / FILE_NAME
    try:
        descriptor = _open_lock_or_folder(path)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            if not take(descriptor):
                holder = _read_holder(descriptor)
                description = holder.description if holder is not None else "it is not known which"
                raise HostBusy(
                    f"another run holds this host: {description}",
                    hint="wait until it has ended; lamplighter status shows where the domains are",
                )
        except OSError as error:
            raise _unusable(path, error) from error
        record = {
            "pid": os.getpid(),
            "began": _began(os.getpid()),
            "user": user_name(os.getuid()),
            "command": command,
            "since": since.isoformat(timespec="seconds"),
        }
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(record).encode(), 0)
        except OSError as error:  # the lock is what counts: the host's stop must not fail by this
            logger.warning("%s cannot say who holds this host: %s", path, error.strerror)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)  # this releases the lock


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the host's lock cannot be taken: {error.strerror}",
        where=str(path),
        hint="run as root, or let [host] run name a directory this user may write",
    )


def read_holder(directory: Path) -> Holder | None:
    """Return who holds the host; None when nobody does or the holder cannot be identified.

    Another user's file is not believed: its owner could choose which process is signalled.
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
    """Send a signal to the holder's process; return whether it was still there.

    Its process id may have been reused. So a pidfd of the process that has the id now is opened,
    and the signal is sent through it only if the process with that id has the holder's start time.
    Never signals this process itself. Raises ``PermissionError``.
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


def _read_holder(descriptor: int) -> Holder | None:
    try:
        holder = parse(os.pread(descriptor, _LIMIT, 0))
        pid, began = get_number(holder, "pid"), get_text(holder, "began")
        user, command = get_text(holder, "user"), get_text(holder, "command")
        description = f"{command} (pid {pid}, {user}), since {get_text(holder, 'since')}"
    except (OSError, ValueError):
        return None
    return Holder(pid, began, description, command) if pid > 0 and began == _began(pid) else None


def _began(pid: int) -> str | None:
    """Return when a process began, in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may contain anything: field 22 is the 20th after it.
    fields = stat.rpartition(b")")[2].split()
    return fields[19].decode("ascii", "replace") if len(fields) > 19 else None


@contextmanager
def hold(lock: Path, what: str = "runs this host") -> Iterator[None]:
    """Hold a lock for the length of the block; ``HostBusy`` when another process does.

    ``what`` completes the message: "another process ...".
    """
    with ExitStack() as stack:
        try:
            descriptor = _open(lock, folder_mode=0o700)
            stack.callback(os.close, descriptor)
            taken = take(descriptor)
        except OSError as error:
            message = f"the lock cannot be taken: {error.strerror}"
            raise ConfigurationError(message, where=str(lock)) from error
        if not taken:
            raise HostBusy(f"another process {what} and holds {lock}")
        yield


def is_held(lock: Path) -> bool:
    """Return whether a living process holds a lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not take(descriptor)
    finally:
        os.close(descriptor)


def take(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder, until its descriptor is closed or this process dies.

    Return False when another process holds the lock; with ``wait``, return when it is free. Raises
    ``OSError`` where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_lock_or_folder(path: Path) -> int:
    """Open the host's lock, or its folder where the file is missing and cannot be created."""
    try:
        return _open(path, folder_mode=0o755)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
    return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _open(path: Path, *, folder_mode: int) -> int:
    """Open the file of a lock, and create it and its folder when missing; raise ``OSError``."""
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path, flags, 0o600)
