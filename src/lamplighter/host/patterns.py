"""The files that a pattern of ``definitions`` names, as a shell would expand it.

Unlike ``glob``, it does not pass over a folder that cannot be listed, nor a plain path that leads
nowhere: what an administrator named and we cannot see is a problem that is told.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_ROOT = "run it as root"

_MAGIC = re.compile(r"[*?[]")
#: How a pattern spells a character that would otherwise be magic.
_ESCAPED = re.compile(r"\[([*?[])\]")


def matches(pattern: str, origin: Location) -> tuple[list[Path], list[Problem]]:
    """Return the paths an absolute pattern names, sorted, and what is wrong with it.

    ``origin`` is where the pattern was said. The built-in one may name a folder that is not there.
    """
    folder, base = pattern.rsplit("/", 1)
    literal = _literal(folder or "/")
    folders = [Path(literal)] if literal is not None else _folders(folder)
    paths: list[Path] = []
    problems: list[Problem] = []
    for each in folders:
        try:
            paths += _entries(each, base)
        except FileNotFoundError:
            if origin != BUILT_IN:
                problems.append(Problem("missing", f"there is no folder {each}", origin))
        except OSError as error:
            message = f"the folder cannot be read: {error.strerror}"
            hint = AS_ROOT if isinstance(error, PermissionError) else ""
            problems.append(Problem("unreadable", message, Location(str(each)), hint=hint))
    plain = _literal(base)
    if plain is not None and not paths and not problems and literal is not None:
        problems.append(Problem("missing", f"there is no file {Path(literal, plain)}", origin))
    return paths, problems


def _entries(folder: Path, base: str) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") and not base.startswith(".")
        if fnmatch.fnmatchcase(path.name, base) and not hidden:
            yield path


def _folders(pattern: str) -> list[Path]:
    return sorted(path for path in Path("/").glob(pattern.lstrip("/")) if _may_be_folder(path))


def _may_be_folder(path: Path) -> bool:
    """Whether to try to list it; where we may not even look, the attempt will tell."""
    try:
        return path.is_dir()
    except OSError:
        return True


def _literal(pattern: str) -> str | None:
    """The one path that a pattern without magic names; None when it has some."""
    if _MAGIC.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)
