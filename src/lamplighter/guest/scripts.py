"""Finds and runs the administrator's scripts and checks, in order, each with a deadline.

As with run-parts: executable files whose names consist of letters, digits and ``_-.``, in the order
of their names; files that editors and package managers leave behind are skipped. They run as root,
so a file that somebody else could have written is refused (``trust``), both when the folder is
listed and when the program is started. One of a program's first twenty lines may set its deadline:

    # lamplighter-deadline: 30s

A shutdown script is begun only once in a boot. What was begun is noted in ``/run``, so an agent
that is restarted in the middle of a shutdown, or init's hook in its place, continues with the next
script. The note (``run_state``) contains the process and its deadline, so a successor waits for a
script that still runs and sees in ``/proc`` when it has ended.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.formats.durations import parse_duration
from lamplighter.guest.clock import now
from lamplighter.guest.events import Script
from lamplighter.guest.processes import child_environment, problem_of
from lamplighter.guest.run_state import Begun
from lamplighter.guest.trust import distrust

if TYPE_CHECKING:
    from lamplighter.guest.config import Paths
    from lamplighter.guest.log import Log
    from lamplighter.guest.processes import Children
    from lamplighter.guest.run_state import RunStateFile

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_LEFT_BEHIND = re.compile(
    r".*(\.dpkg-[a-z]+|\.rpm(new|save|orig)|\.(bak|orig|rej|swp|old|disabled))"
)

_DEADLINE = re.compile(rb"^\s*(?:#|//|--|;)+\s*lamplighter-deadline:\s*([^\r\n]*)", re.MULTILINE)

#: How much of a program is searched for its deadline: lines, and bytes altogether.
LINES = 20

BEGINNING = 4096

#: The environment variable with the request; a script gets it as its first argument as well.
VARIABLE = "LAMPLIGHTER_REQUEST"

#: Seconds between two checks whether a script that another process began has ended.
LOOK_AGAIN = 0.5

UNSEEN = "it was begun before and has ended, nobody saw how"


class Program(NamedTuple):
    """One of the administrator's programs; it is terminated after ``deadline`` seconds."""

    name: str
    path: str
    deadline: float

    def refused(self, owners: tuple[int, ...]) -> str | None:
        """Return why it must not be started now; None if it may be."""
        try:
            reason = distrust(self.path, owners)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        return None if reason is None else f"it is not run: {reason}"

    @property
    def script(self) -> Script:
        """The program as ``handshake`` knows it."""
        return Script(self.name, self.deadline)


def find_programs(
    folder: str, deadline: float, owners: tuple[int, ...] = (0,)
) -> tuple[list[Program], list[str]]:
    """Return a folder's programs in order, and the problems of the folder and its files.

    ``deadline`` applies to programs that do not set one. A missing folder has no programs.
    """
    try:
        names = sorted(os.listdir(folder))
        reason = distrust(folder, owners)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{folder}: it cannot be read: {error.strerror}"]
    if reason is not None:
        return [], [f"{folder}: nothing in it is run: {reason}"]
    found: list[Program] = []
    problems: list[str] = []
    for name in names:
        if _NAME.fullmatch(name) is None or _LEFT_BEHIND.fullmatch(name):
            continue
        path = f"{folder}/{name}"
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                continue
            reason = distrust(path, owners) if mode & 0o111 else "it is not executable (chmod +x)"
            if reason is not None:
                problems.append(f"{path}: it is not run: {reason}")
                continue
            with open(path, "rb") as file:
                beginning = b"\n".join(file.read(BEGINNING).split(b"\n")[:LINES])
        except OSError as error:
            problems.append(f"{path}: it cannot be read: {error.strerror}")
            continue
        seconds, statement = deadline, _DEADLINE.search(beginning)
        if statement is not None:
            text = statement[1].decode("utf-8", "replace").strip()
            try:
                seconds = parse_duration(text)
                problem = None if seconds > 0 else "expected more than 0 s"
            except ValueError as error:
                problem = str(error)
            if problem is not None:
                seconds = deadline
                problem = f"{text[:40]!r}: {problem}; it has {deadline:g} s"
                problems.append(f"{path}: lamplighter-deadline: {problem}")
        found.append(Program(name, path, seconds))
    return found, problems


class Scripts:
    """Finds, starts and terminates the shutdown scripts."""

    def __init__(
        self, places: Paths, deadline: float, children: Children, state: RunStateFile, log: Log
    ) -> None:
        self._places = places
        self._deadline = deadline
        self._children = children
        self._log = log
        self._state = state
        self._programs: dict[str, Program] = {}
        self._running: dict[int, str] = {}
        self._adopted: dict[str, Begun] = {}

    def find(self) -> tuple[Script, ...]:
        """Return the scripts to run or to wait for, in order."""
        found, problems = find_programs(self._places.scripts, self._deadline, owners())
        for problem in problems:
            self._log.warn(problem)
        self._programs = {program.name: program for program in found}
        begun, scripts = self._state.read().scripts, []
        for program in found:
            if program.name not in begun:
                scripts.append(program.script)
            elif (process := self._still(begun[program.name])) is not None:
                self._log.warn(f"{program.name} was begun before and still runs: it is waited for")
                left = max(0.0, process.overdue - now())
                scripts.append(Script(program.name, min(program.deadline, round(left, 1))))
            else:
                self._log.warn(f"{program.name} was begun before: it is not run again")
        return tuple(scripts)

    def start(self, name: str, request: str) -> str | None:
        """Start a script, or adopt it if it runs already; return why not, None if it runs."""
        begun = self._state.read().scripts
        if name in begun:
            if (process := self._still(begun[name])) is None:
                return UNSEEN
            self._adopted[name] = process
            return None
        self._state.update({name: None})
        program = self._programs[name]
        if (reason := program.refused(owners())) is not None:
            return reason
        try:
            environment = child_environment(**{VARIABLE: request})
            pid = self._children.start([program.path, request], environment)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        self._running[pid] = name
        start = start_of(self._places.proc, pid)
        if start is not None:
            self._state.update({name: Begun(pid, start, now() + program.deadline)})
        return None

    def end(self, name: str, now: float) -> None:
        """Terminate a script that runs."""
        if name in self._adopted:
            self._children.end(self._adopted[name].pid, now)
        for pid, running in self._running.items():
            if running == name:
                self._children.end(pid, now)

    @property
    def wake(self) -> float:
        """When ``gone`` is due; infinite while no script of another process is waited for."""
        return now() + LOOK_AGAIN if self._adopted else inf

    def gone(self) -> list[tuple[str, str]]:
        """Return names and problems of the scripts of other processes that have ended."""
        ended = [
            name
            for name, process in self._adopted.items()
            if self._still(process) is None and not self._children.lingers(process.pid)
        ]
        for name in ended:
            self._children.forget(self._adopted.pop(name).pid)
        return [(name, UNSEEN) for name in ended]

    def ended(self, pid: int, code: int) -> tuple[str, str | None] | None:
        """Return name and problem of the script with this pid, which ended; None: not a script."""
        name = self._running.pop(pid, None)
        return None if name is None else (name, problem_of(code))

    def _still(self, process: Begun | None) -> Begun | None:
        """Return the process if it still runs; its pid may have been reused."""
        if process is None or start_of(self._places.proc, process.pid) != process.start:
            return None
        return process


def start_of(proc: str, pid: int) -> int | None:
    """Return when a process was started, in clock ticks after boot; None if none runs."""
    with suppress(OSError, ValueError, IndexError), open(f"{proc}/{pid}/stat", "rb") as file:
        # The name, in parentheses, may contain anything; field 3 of proc(5) follows.
        fields = file.read(4096).rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    return None


def owners() -> tuple[int, ...]:
    """Return the users whose files are run: root, and the agent's user if that is another one."""
    return tuple({0, os.geteuid()})
