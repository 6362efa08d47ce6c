"""Checks who could have written a file that root is about to run.

A user who may write to a folder can replace the files in it and redirect the links in it. So the
whole path is checked from ``/`` on, links included, as the host does with its own files
(``host/files/trust``, which can afford to keep the path open meanwhile). A sticky folder such as
``/tmp`` may be writable by all: nobody can replace another user's files there.
"""

from __future__ import annotations

import errno
import os
import stat

#: The number of links that the kernel itself follows before it reports a loop.
MOST_LINKS = 40


def distrust(path: str, owners: tuple[int, ...]) -> str | None:
    """Return why a file, or a folder's contents, must not be run; None if there is no reason.

    ``OSError`` if the path cannot be followed.
    """
    pending, where, links = _parts(os.path.abspath(path)), "/", 0
    while pending:
        name = pending.pop()
        if name == "..":
            where = os.path.dirname(where)
            continue
        entry = os.path.join(where, name)
        status = os.lstat(entry)
        # Nobody can write to a link, nor replace another user's files in a sticky folder.
        is_link, is_folder = stat.S_ISLNK(status.st_mode), stat.S_ISDIR(status.st_mode)
        protected = is_link or (is_folder and status.st_mode & stat.S_ISVTX)
        reason = None
        if status.st_uid not in owners:
            reason = f"belongs to user {status.st_uid}, not to root"
        elif status.st_mode & 0o022 and not protected:
            reason = "can be written by others than root (chmod go-w)"
        if reason is not None:
            return f"{'it' if entry == path else entry} {reason}"
        if not is_link:
            where = entry
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(entry)
        where = "/" if target.startswith("/") else where
        pending += _parts(target)
    return None


def _parts(path: str) -> list[str]:
    """Return the names in a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
