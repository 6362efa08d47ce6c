"""The administrator's programs: which of a folder's files are run, in which order, and how long.

As run-parts does it: executable files whose names are of letters, digits and ``_-.``, in the order
of their names; what editors and package managers leave behind is none. They run as root, so one
that somebody else could have written is refused (``trust``), when the folder is looked through and
again when it is started. A line among a program's first twenty says how long it may take:

    # lamplighter-deadline: 30s
"""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from lamplighter.formats.durations import parse_duration
from lamplighter.guest.events import Script
from lamplighter.guest.trust import distrust

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LEFT_BEHIND = re.compile(
    r".*(\.dpkg-[a-z]+|\.rpm(new|save|orig)|\.(bak|orig|rej|swp|old|disabled))"
)
_DEADLINE = re.compile(rb"^\s*(?:#|//|--|;)+\s*lamplighter-deadline:\s*([^\r\n]*)", re.MULTILINE)

#: Where a program says how long it may take: so many lines, of so many bytes together.
LINES = 20
BEGINNING = 4096


class Program(NamedTuple):
    """A program of the administrator's; it is killed after ``deadline`` seconds."""

    name: str
    path: str
    deadline: float

    def refused(self, owners: tuple[int, ...]) -> str:
        """Say why it must not be started now; empty when it may be."""
        try:
            why = distrust(self.path, owners)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        return f"it is not run: {why}" if why else ""

    @property
    def script(self) -> Script:
        """What the handshake knows of it."""
        return Script(self.name, self.deadline)


def find_programs(
    folder: str, deadline: float, owners: tuple[int, ...] = (0,)
) -> tuple[list[Program], list[str]]:
    """Return a folder's programs in order, and what is wrong with it or with what is left out.

    ``deadline`` is theirs who say none themselves. A folder that is not there has none.
    """
    try:
        names = sorted(os.listdir(folder))
        why = distrust(folder, owners)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{folder}: it cannot be read: {error.strerror}"]
    if why:
        return [], [f"{folder}: nothing in it is run: {why}"]
    found: list[Program] = []
    problems: list[str] = []
    for name in names:
        if _NAME.fullmatch(name) is None or _LEFT_BEHIND.fullmatch(name):
            continue
        try:
            program, problem = _look(f"{folder}/{name}", name, deadline, owners)
        except OSError as error:
            program, problem = None, f"it cannot be read: {error.strerror}"
        if program is not None:
            found.append(program)
        if problem:
            problems.append(f"{folder}/{name}: {problem}")
    return found, problems


def _look(
    path: str, name: str, deadline: float, owners: tuple[int, ...]
) -> tuple[Program | None, str]:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return None, ""
    if not status.st_mode & 0o111:
        return None, "it is not run: it is not executable (chmod +x)"
    if why := distrust(path, owners):
        return None, f"it is not run: {why}"
    with open(path, "rb") as file:
        beginning = b"\n".join(file.read(BEGINNING).split(b"\n")[:LINES])
    said = _DEADLINE.search(beginning)
    if said is None:
        return Program(name, path, deadline), ""
    text = said[1].decode("utf-8", "replace").strip()
    try:
        seconds = parse_duration(text)
        problem = "" if seconds > 0 else "expected more than nothing"
    except ValueError as error:
        seconds, problem = 0.0, str(error)
    if problem:
        told = f"lamplighter-deadline: {text[:40]!r}: {problem}; it has {deadline:g} s"
        return Program(name, path, deadline), told
    return Program(name, path, seconds), ""
