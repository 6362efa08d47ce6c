"""The folders this software writes to: whether it can, and whether others can, too."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.host.files.trust import Walk
from lamplighter.host.patterns import AS_ROOT
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from lamplighter.model.policy import Setting


def folder_problem(setting: Setting[str], owners: Collection[int]) -> Problem | None:
    """Say what is wrong with a folder that a run will write to, or create when it is not there.

    ``owners`` are the users who may own it and every folder above it.
    """
    path = _nearest_existing(Path(setting.value))
    where = Location(setting.value) if setting.origin == BUILT_IN else setting.origin
    try:
        with Walk(path, owners) as way:
            if not stat.S_ISDIR(way.status.st_mode):
                return Problem("not-a-folder", f"{path} is no folder", where)
            if way.distrust is not None:
                hint = way.distrust.hint
                return Problem("permissions", f"{way.distrust}", where, hint=hint)
            # By descriptor, because the name could mean something else by now.
            if not os.access(f"/proc/self/fd/{way.fd}", os.W_OK | os.X_OK):
                return Problem("permissions", _cannot_write(path, setting.value), where, hint=_HINT)
    except OSError as error:
        return Problem("unreadable", f"{path} cannot be examined: {error.strerror}", where)
    return None


_HINT = f"{AS_ROOT}, and see that its file system is not mounted read-only"


def _cannot_write(path: Path, wanted: str) -> str:
    if str(path) == wanted:
        return f"{path} cannot be written by this user"
    return f"{wanted} is not there and cannot be created in {path} by this user"


def _nearest_existing(path: Path) -> Path:
    """The folder itself, or the one in which it and its missing parents would be created."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
