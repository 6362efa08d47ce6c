"""Installs files and folders: whole or not at all, and only when something changes.

What is already as it should be is not touched. A link is never written through and never replaced:
an administrator made it, and it may have a meaning, such as a masked unit.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ConfigurationError
from lamplighter.host.files.writing import write_whole

if TYPE_CHECKING:
    from pathlib import Path

NULL = "/dev/null"


class Change(Enum):
    """What happened to one file or folder."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    KEPT = "kept"  # it exists and belongs to the administrator


class Installed(NamedTuple):
    """One file or folder and what happened to it."""

    path: Path
    how: Change


def install_file(path: Path, content: bytes, *, keep: bool = False) -> Installed:
    """Install a file, readable by all; with ``keep`` only when there is none.

    Missing folders are created. Raises ``ConfigurationError`` when it cannot be done.
    """
    try:
        if path.is_symlink() and not keep:
            target = str(path.readlink())
            message, hint = f"it is a link to {target}", "remove the link if it is of no use"
            if target == NULL:
                message = "the unit is masked"
                hint = f"systemctl unmask {path.name}, then install again"
            raise ConfigurationError(f"it is not replaced: {message}", where=str(path), hint=hint)
        if os.path.lexists(path):
            if keep:
                return Installed(path, Change.KEPT)
            how = Change.UPDATED
            if path.read_bytes() == content and _mode(path) == 0o644:
                return Installed(path, Change.UNCHANGED)
        else:
            how = Change.CREATED
            _make_folders(path.parent)
        write_whole(path, content, 0o644)
    except OSError as error:
        raise _cannot(path, error) from error
    return Installed(path, how)


def place_folder(path: Path, mode: int) -> Installed:
    """Create a folder with this mode, or give it this mode; ``ConfigurationError`` if not."""
    try:
        if path.is_dir():
            if _mode(path) == mode:
                return Installed(path, Change.UNCHANGED)
            path.chmod(mode)
            return Installed(path, Change.UPDATED)
        _make_folders(path.parent)
        path.mkdir(mode)
        path.chmod(mode)
    except OSError as error:
        raise _cannot(path, error) from error
    return Installed(path, Change.CREATED)


def _make_folders(path: Path) -> None:
    """Create missing folders that everybody can list, whatever the umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(0o755)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _cannot(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"it cannot be installed: {error.strerror}",
        where=str(path),
        hint="run as root, and see that its file system is not mounted read-only",
    )
