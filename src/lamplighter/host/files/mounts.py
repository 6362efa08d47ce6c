"""Whether the file system that holds a folder is mounted, as ``/etc/fstab`` has it.

Where it is not, the folder looks empty or missing, or shows what was there before the file system
was first mounted. None of that is what was last written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

FSTAB = Path("/etc/fstab")
MOUNTED = Path("/proc/self/mountinfo")

_ROOT = Path("/")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def missing_mount(folder: Path) -> Path | None:
    """Return the mount point, this folder or one above it, that is in fstab and not mounted.

    What fstab mounts only on request (``noauto``) may be missing, and ``/`` never is: a chroot
    does not show it. None: there is no such mount point, or it cannot be found out.
    """
    try:
        # The other mount points are not touched: a server that does not answer would be waited for.
        folder = folder.resolve()
        in_fstab = {
            _path(row[1])
            for row in _rows(FSTAB)
            if len(row) > 3 and b"noauto" not in row[3].split(b",")
        }
        wanted = {folder, *folder.parents} & in_fstab - {_ROOT}
        missing = wanted - {_path(row[4]) for row in _rows(MOUNTED)} if wanted else wanted
    except (OSError, RuntimeError):  # the latter: links that lead back to themselves
        return None
    return min(missing, default=None)


def _rows(table: Path) -> list[list[bytes]]:
    lines = table.read_bytes().splitlines()
    return [line.split() for line in lines if line.strip() and not line.lstrip().startswith(b"#")]


def _path(field: bytes) -> Path:
    return Path(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 255]), field)))
