"""A damaged journal is kept aside: under a name of its own, and never over an earlier one.

Its write-ahead log and index go with it, and go first: a log that stayed behind would be played
into the new database. One process does it at a time; whoever waited looks again, because the
journal may have been begun anew meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

#: What SQLite keeps beside a database, and the database itself, which goes last.
SUFFIXES = ("-shm", "-wal", "")


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
        fcntl.flock(folder, fcntl.LOCK_EX)
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
        name = _free_name(folder, f"{path.name}.damaged-{at:%Y%m%dT%H%M%S}")
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                os.rename(path.name + suffix, name + suffix, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        raise _cannot(path, error) from error
    return path.with_name(name)


def _free_name(folder: int, wanted: str) -> str:
    taken, name, number = set(os.listdir(folder)), wanted, 1
    while any(name + suffix in taken for suffix in SUFFIXES):
        number += 1
        name = f"{wanted}-{number}"
    return name


def _cannot(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{path} cannot be set aside: {error.strerror}",
        hint="[host] state must name a directory this user may read and write",
    )
