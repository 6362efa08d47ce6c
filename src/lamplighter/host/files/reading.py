"""Reads the configuration and the domain definitions without trusting the file system.

What a pattern names may be a folder, a pipe, a dangling link or a gigabyte: each of these is a
``Problem`` of its own, and none of them blocks or keeps the other files from being read. A folder
that cannot be listed is a problem, too: "could not be read" never means "there are none". That is
why patterns are expanded here: ``glob`` skips a folder that cannot be listed and a plain path that
does not exist.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ConfigurationError
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.formats.durations import format_size
from lamplighter.host.files.trust import Walk
from lamplighter.model.policy import Configuration
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lamplighter.host.files.trust import Distrust
    from lamplighter.model.policy import Setting

#: The largest file that is read, in bytes; a definition has two or three thousand.
LARGEST = 1 << 20

_SORTS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

AS_ROOT = "run it as root"

_MAGIC = re.compile(r"[*?[]")

#: How a pattern escapes a character that would otherwise be a wildcard.
_ESCAPED = re.compile(r"\[([*?[])\]")

_HINT = f"{AS_ROOT}, and see that its file system is not mounted read-only"


class Unreadable(Exception):
    """A file that cannot be read: a stable code, a message and a hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


class Text(NamedTuple):
    """The content of one file. Bytes that are not UTF-8 become surrogate escapes.

    ``identity`` is the same for every path that leads to this file. ``distrust`` is why its
    content must not be acted on, or None.
    """

    path: str
    text: str
    identity: tuple[int, int]
    distrust: Distrust | None


def read_configuration(path: Path, *, required: bool) -> Configuration:
    """Read lamplighter.toml; raise ``ConfigurationError``.

    A missing file counts as empty unless it is ``required``. A file that can be written by users
    other than root and the one who runs this is refused.
    """
    path = path.absolute()
    return toml.parse(_configuration_text(path, required=required), str(path))


def salvage_configuration(
    path: Path, *, required: bool
) -> tuple[Configuration, ConfigurationError | None]:
    """Return the valid settings of lamplighter.toml, and the first error in it or None."""
    path = path.absolute()
    try:
        return toml.parse_valid_parts(_configuration_text(path, required=required), str(path))
    except ConfigurationError as error:
        return Configuration(str(path)), error


def _configuration_text(path: Path, *, required: bool) -> str:
    if not required and _is_missing(path):
        return ""
    try:
        read = _read(path, {0, os.geteuid()})
    except Unreadable as error:
        raise ConfigurationError(error.message, where=str(path), hint=error.hint) from error
    if read.distrust:
        raise ConfigurationError(
            f"refused: {read.distrust}", where=str(path), hint=read.distrust.hint
        )
    try:
        return read.text.encode(errors="surrogateescape").decode()
    except UnicodeDecodeError as error:
        line = bytes(error.object[: error.start]).count(b"\n") + 1
        raise ConfigurationError(
            "bytes that are no UTF-8", where=str(path), line=line, hint="save the file as UTF-8"
        ) from error


def read_definitions(
    patterns: Setting[tuple[str, ...]],
    owner: int,
) -> tuple[list[Text], list[Problem]]:
    """Read every file that the patterns name, each once; return them and what could not be read.

    If several paths lead to one file, a trustworthy one is taken. ``owner`` is the user, besides
    root, who may own definitions.
    """
    texts: dict[tuple[int, int], Text] = {}
    problems: list[Problem] = []
    seen: set[str] = set()
    for pattern in patterns.value:
        paths, troubles = matches(pattern, patterns.origin)
        problems += troubles
        for path in paths:
            if str(path) in seen:
                continue
            seen.add(str(path))
            try:
                text = _read(path, {0, owner})
            except Unreadable as error:
                where = Location(str(path))
                problems.append(Problem(error.code, error.message, where, hint=error.hint))
                continue
            known = texts.setdefault(text.identity, text)
            if known.distrust and not text.distrust:
                texts[text.identity] = text
    return list(texts.values()), problems


def _is_missing(path: Path) -> bool:
    """Return whether nothing is there, not even a dangling link; False if that cannot be seen."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _read(path: Path, owners: set[int]) -> Text:
    try:
        with Walk(path, owners) as way:
            sort = stat.S_IFMT(way.status.st_mode)
            if sort != stat.S_IFREG:
                raise Unreadable("not-a-file", f"is {_SORTS.get(sort, 'no file')}, not a file")
            content = _content(way.open())
            identity = (way.status.st_dev, way.status.st_ino)
            return Text(str(path), content, identity, way.distrust)
    except OSError as error:
        raise _explained(path, error) from error


def _content(fd: int) -> str:
    """Read an open file to its end and close it; raise ``Unreadable`` when it is too large."""
    with os.fdopen(fd, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Unreadable("too-large", f"is larger than {format_size(LARGEST)}")
    return content.decode(errors="surrogateescape")


def _explained(path: Path, error: OSError) -> Unreadable:
    if isinstance(error, FileNotFoundError):
        if target := _link_target(path):
            message = f"is a link to {target}, which does not exist"
            return Unreadable("missing", message, "take the link away or repair it")
        return Unreadable("missing", "does not exist")
    if error.errno == errno.ELOOP:
        return Unreadable("missing", "is a link that leads back to itself")
    hint = AS_ROOT if isinstance(error, PermissionError) else ""
    return Unreadable("unreadable", f"cannot be read: {error.strerror}", hint)


def _link_target(path: Path) -> str:
    """Return where a link points to; empty when the path is not a link or is gone by now."""
    try:
        return str(path.readlink())
    except OSError:
        return ""


def matches(pattern: str, origin: Location) -> tuple[list[Path], list[Problem]]:
    """Return the paths an absolute pattern names, sorted, and what is wrong with it.

    ``origin`` is where the pattern was set. The built-in one may name a missing folder.
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
    """Return whether to try to list it; without permission to look, listing reports the error."""
    try:
        return path.is_dir()
    except OSError:
        return True


def _literal(pattern: str) -> str | None:
    """Return the one path that a pattern without wildcards names; None when it has wildcards."""
    if _MAGIC.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)


def folder_problem(setting: Setting[str], owners: Collection[int]) -> Problem | None:
    """Return what is wrong with a folder that a run will write to, or create when it is missing.

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
            # By descriptor, because the path could lead elsewhere by now.
            if not os.access(f"/proc/self/fd/{way.fd}", os.W_OK | os.X_OK):
                return Problem("permissions", _cannot_write(path, setting.value), where, hint=_HINT)
    except OSError as error:
        return Problem("unreadable", f"{path} cannot be examined: {error.strerror}", where)
    return None


def _cannot_write(path: Path, wanted: str) -> str:
    if str(path) == wanted:
        return f"{path} cannot be written by this user"
    return f"{wanted} is not there and cannot be created in {path} by this user"


def _nearest_existing(path: Path) -> Path:
    """Return the folder, or the one in which it and its missing parents would be created."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
