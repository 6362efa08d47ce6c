"""Whether the file system that holds a folder is mounted, as ``/etc/fstab`` has it.

Where it is not, the folder looks empty or missing, or shows what was there before the file system
was first mounted. None of that is what was last written.
"""

from __future__ import annotations

import re
from pathlib import Path

FSTAB = Path("/etc/fstab")
MOUNTED = Path("/proc/self/mountinfo")

#: The field with the mount point, in the lines of each file.
_FSTAB_FIELD, _MOUNTED_FIELD = 1, 4

_ESCAPED = re.compile(r"\\([0-7]{3})")


def missing_mount(folder: Path) -> Path | None:
    """Return the mount point, this folder or one above it, that is in fstab and not mounted.

    None: there is no such mount point, or it cannot be found out.
    """
    try:
        # The other mount points are not touched: a server that does not answer would be waited for.
        folder = folder.resolve()
        wanted = {folder, *folder.parents} & _mount_points(FSTAB, _FSTAB_FIELD)
        missing = wanted - _mount_points(MOUNTED, _MOUNTED_FIELD) if wanted else wanted
    except (OSError, RuntimeError):  # the latter: links that lead back to themselves
        return None
    return min(missing, default=None)


def _mount_points(table: Path, field: int) -> set[Path]:
    lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    rows = (line.split() for line in lines if not line.lstrip().startswith("#"))
    points = (row[field] for row in rows if len(row) > field and row[field].startswith("/"))
    return {Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), point)) for point in points}
