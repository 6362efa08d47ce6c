"""Checks who could have written a file, by the owners and modes of it and of all folders above it.

What root starts must come from files that only root can write; on an embedded host the user who
runs it is trusted as well. A file is as trustworthy as the folders that lead to it, so the path is
walked from ``/`` on, one descriptor after the other: what is checked is what is opened, and nobody
can swap a folder or a link in between. Symbolic links are resolved here, and both the folders that
hold the link and the folders that hold its target are checked.

A sticky folder such as ``/tmp`` may be writable by all, because nobody can replace an entry of
another owner in it, and every entry on the way must belong to a trusted user anyway. Being writable
by the group is harmless when the group is the owner's own and has no other member.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from lamplighter.host.machine import user_name

if TYPE_CHECKING:
    from collections.abc import Collection

#: The number of links that the kernel itself follows before it reports a loop.
MOST_LINKS = 40

_ACL = "system.posix_acl_access"
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Distrust(NamedTuple):
    """One file or folder that somebody else could write: its path, the reason and a hint."""

    path: str
    reason: str
    hint: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class Walk:
    """The walk to a file or folder; a context manager that holds a descriptor of its target.

    ``path`` is the target without links, ``status`` its ``fstat``, ``distrust`` the first reason on
    the way not to trust it, or None. ``fd`` is an ``O_PATH`` descriptor: nothing was opened yet
    that could block or have an effect. Raises the ``OSError`` of the step that failed.

    The walk begins at ``/``, or at the end of another walk: then ``path`` is relative to it.
    """

    def __init__(
        self, path: str | Path, owners: Collection[int], after: Walk | None = None
    ) -> None:
        self._owners = frozenset(owners)
        links = 0
        if after is None:
            self.path, self.fd = Path("/"), os.open("/", _PATH_ONLY)
            pending = deque(Path(path).absolute().parts[1:])
        else:
            self.path, self.fd = after.path, os.dup(after.fd)
            pending = deque(Path(path).parts)
        self.distrust: Distrust | None = after.distrust if after is not None else None
        try:
            self.status = self._examine(self.fd, self.path)
            while pending:
                # To an entry of the current folder, to its parent, or along a link.
                name = pending.popleft()
                where = self.path.parent if name == ".." else self.path / name
                entry = os.open(name, _PATH_ONLY, dir_fd=self.fd)
                status = self._examine(entry, where)
                if not stat.S_ISLNK(status.st_mode):
                    self._move_to(entry, where, status)
                    continue
                try:
                    target = Path(os.readlink("", dir_fd=entry))
                finally:
                    os.close(entry)
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(where))
                parts = target.parts
                if target.is_absolute():
                    root = os.open("/", _PATH_ONLY)
                    self._move_to(root, Path("/"), os.fstat(root))
                    parts = parts[1:]
                pending.extendleft(reversed(parts))
        except OSError:
            os.close(self.fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def open(self) -> int:
        """Open the very file that was examined, for reading, without waiting for a writer."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def _move_to(self, fd: int, where: Path, status: os.stat_result) -> None:
        os.close(self.fd)
        self.fd, self.path, self.status = fd, where, status

    def _examine(self, fd: int, where: Path) -> os.stat_result:
        status = os.fstat(fd)
        if self.distrust is None:
            self.distrust = check_entry(fd, status, where, self._owners)
        return status


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists: here it would be created."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def check_entry(
    fd: int,
    status: os.stat_result,
    where: Path,
    owners: Collection[int],
) -> Distrust | None:
    """Return why an entry could have been written by somebody else; None if it could not."""
    path = str(where)
    if status.st_uid not in owners:
        trusted = [user_name(uid) for uid in sorted(owners)]
        reason = f"belongs to {user_name(status.st_uid)}, not to {' or '.join(trusted)}"
        return Distrust(path, reason, f"chown {trusted[0]} {path}")
    sticky_folder = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if stat.S_ISLNK(status.st_mode) or sticky_folder:
        return None
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWOTH:
        return Distrust(path, f"can be written by everybody ({mode})", f"chmod o-w {path}")
    if status.st_mode & stat.S_IWGRP and not _private_group(fd, status):
        try:
            group = grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            group = f"gid {status.st_gid}"
        return Distrust(path, f"can be written by the group {group} ({mode})", f"chmod g-w {path}")
    return None


def _private_group(fd: int, status: os.stat_result) -> bool:
    """Return whether the group is the owner's own; with an ACL its bits cover other users, too."""
    try:
        if _ACL in os.listxattr(f"/proc/self/fd/{fd}"):
            return False
        user, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except (OSError, KeyError):
        return False
    return group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}
