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
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ConfigurationError
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.formats.durations import format_size
from lamplighter.host.files.trust import Walk, nearest_existing
from lamplighter.model.policy import Configuration
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from lamplighter.host.files.trust import Distrust
    from lamplighter.model.policy import Setting

#: The largest file that is read, in bytes; a definition has two or three thousand.
LARGEST = 1 << 20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

AS_ROOT = "run it as root"

#: The errors of listing what is not a folder: a file, a dangling link, a link to itself.
_NOT_A_FOLDER = (errno.ENOTDIR, errno.ENOENT, errno.ELOOP)

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
    if not required:
        try:
            path.lstat()
        except FileNotFoundError:  # not even a dangling link is there
            return ""
        except OSError:
            pass  # what cannot be seen is not missing: reading it reports why
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
            "bytes that are not UTF-8", where=str(path), line=line, hint="save the file as UTF-8"
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
    paths: dict[Path, None] = {}  # each once, in the order of the patterns
    for pattern in patterns.value:
        named, found = matches(pattern, patterns.origin)
        problems += found
        paths |= dict.fromkeys(named)
    for folder, files in groupby(paths, key=lambda path: path.parent):
        with ExitStack() as stack:
            way: Walk | None = None
            with suppress(OSError):  # reading the files reports it, for each of them
                way = stack.enter_context(Walk(folder, {0, owner}))
            for path in files:
                try:
                    text = _read(path, {0, owner}, way)
                except Unreadable as error:
                    where = Location(str(path))
                    problems.append(Problem(error.code, error.message, where, hint=error.hint))
                    continue
                known = texts.setdefault(text.identity, text)
                if known.distrust and not text.distrust:
                    texts[text.identity] = text
    return list(texts.values()), problems


def _read(path: Path, owners: set[int], folder: Walk | None = None) -> Text:
    """Read a file; ``folder`` is the walk to the folder that it is in, which saves another one."""
    try:
        with Walk(path.name if folder is not None else path, owners, folder) as way:
            kind = stat.S_IFMT(way.status.st_mode)
            if kind != stat.S_IFREG:
                raise Unreadable("not-a-file", f"is {_KINDS.get(kind, 'no file')}, not a file")
            with os.fdopen(way.open(), "rb") as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise Unreadable("too-large", f"is larger than {format_size(LARGEST)}")
            text = content.decode(errors="surrogateescape")
            identity = (way.status.st_dev, way.status.st_ino)
            return Text(str(path), text, identity, way.distrust)
    except FileNotFoundError as error:
        try:
            target = path.readlink()
        except OSError:  # it is not a link, or is gone by now
            raise Unreadable("missing", "does not exist") from error
        message = f"is a link to {target}, which does not exist"
        raise Unreadable("missing", message, "take the link away or repair it") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unreadable("missing", "is a link that leads back to itself") from error
        hint = AS_ROOT if isinstance(error, PermissionError) else ""
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}", hint) from error


def matches(pattern: str, origin: Location) -> tuple[list[Path], list[Problem]]:
    """Return the paths an absolute pattern names, sorted, and what is wrong with it.

    ``origin`` is where the pattern was set. The built-in one may name a missing folder.
    """
    folder, base = pattern.rsplit("/", 1)
    literal = _literal(folder or "/")
    found = Path("/").glob(folder.lstrip("/")) if literal is None else [Path(literal)]
    paths: list[Path] = []
    problems: list[Problem] = []
    for each in sorted(found):
        try:
            entries = sorted(each.iterdir())
        except OSError as error:
            if literal is None and error.errno in _NOT_A_FOLDER:
                continue  # wildcards match files and dangling links, too
            if not isinstance(error, FileNotFoundError):
                message = f"the folder cannot be read: {error.strerror}"
                hint = AS_ROOT if isinstance(error, PermissionError) else ""
                problems.append(Problem("unreadable", message, Location(str(each)), hint=hint))
            elif origin != BUILT_IN:
                problems.append(Problem("missing", f"there is no folder {each}", origin))
            continue
        for path in entries:
            hidden = path.name.startswith(".") and not base.startswith(".")
            if fnmatch.fnmatchcase(path.name, base) and not hidden:
                paths.append(path)
    plain = _literal(base)
    if plain is not None and not paths and not problems and literal is not None:
        problems.append(Problem("missing", f"there is no file {Path(literal, plain)}", origin))
    return paths, problems


def _literal(pattern: str) -> str | None:
    """Return the one path that a pattern without wildcards names; None when it has wildcards."""
    if _MAGIC.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)


def folder_problem(setting: Setting[str], owners: Collection[int]) -> Problem | None:
    """Return what is wrong with a folder that a run will write to, or create when it is missing.

    ``owners`` are the users who may own it and every folder above it.
    """
    path = nearest_existing(Path(setting.value))
    where = Location(setting.value) if setting.origin == BUILT_IN else setting.origin
    try:
        with Walk(path, owners) as way:
            if not stat.S_ISDIR(way.status.st_mode):
                return Problem("not-a-folder", f"{path} is not a folder", where)
            if way.distrust is not None:
                hint = way.distrust.hint
                return Problem("permissions", f"{way.distrust}", where, hint=hint)
            # By descriptor, because the path could lead elsewhere by now.
            if not os.access(f"/proc/self/fd/{way.fd}", os.W_OK | os.X_OK):
                message = f"{path} cannot be written by this user"
                if str(path) != setting.value:
                    message = (
                        f"{setting.value} is not there and cannot be created in {path} by this user"
                    )
                return Problem("permissions", message, where, hint=_HINT)
    except OSError as error:
        return Problem("unreadable", f"{path} cannot be examined: {error.strerror}", where)
    return None
