"""The administrator's scripts of one shutdown, as programs that run.

A script is begun once in a system's life: what was begun is noted in a file in ``/run``, so that an
agent that was started anew in the middle of a shutdown, or init's hook in the place of an agent
that is gone, goes on with the next one. The note says which process it is, and until when it may
run: who comes later waits for one that still runs, as its own would, and sees in ``/proc`` when it
has gone. A line a note, of which a script's last one stands (``notebook`` has the first line):

    boot 5a3c8f1e-...
    10-database
    10-database 4711 88231 5231.25      process, its start in clock ticks, the end of its time
"""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.guest.clock import now
from lamplighter.guest.events import Script
from lamplighter.guest.processes import problem_of, surroundings
from lamplighter.guest.run_state import Notebook
from lamplighter.guest.scripts import find_programs

if TYPE_CHECKING:
    from lamplighter.guest.log import Log
    from lamplighter.guest.places import Paths
    from lamplighter.guest.processes import Children
    from lamplighter.guest.scripts import Program

#: By this a script knows what the system is on its way to; it is its first argument as well.
VARIABLE = "LAMPLIGHTER_REQUEST"

#: Seconds between two looks whether a script that somebody else began has ended.
LOOK_AGAIN = 0.5

UNSEEN = "it was begun before and has ended, nobody saw how"


class Begun(NamedTuple):
    """A process that was begun, by whomever; it may run until ``overdue``."""

    pid: int
    start: int
    overdue: float


class Scripts:
    """Finds them, starts them, ends them."""

    def __init__(self, places: Paths, deadline: float, children: Children, log: Log) -> None:
        self._places = places
        self._deadline = deadline
        self._children = children
        self._log = log
        self._notes = Notebook(places.begun, places.proc, log)
        self._programs: dict[str, Program] = {}
        self._running: dict[int, str] = {}
        self._adopted: dict[str, Begun] = {}

    def find(self) -> tuple[Script, ...]:
        """Return those that are to be run, or waited for, in their order."""
        found, problems = find_programs(self._places.scripts, self._deadline, owners())
        for problem in problems:
            self._log.warn(problem)
        self._programs = {program.name: program for program in found}
        begun, scripts = self._begun(), []
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

    def start(self, name: str, request: str) -> str:
        """Start one, or wait for it where it runs; return why it could not be, or nothing."""
        begun = self._begun()
        if name in begun:
            if (process := self._still(begun[name])) is None:
                return UNSEEN
            self._adopted[name] = process
            return ""
        self._notes.add(name)
        program = self._programs[name]
        if why := program.refused(owners()):
            return why
        try:
            surrounded = surroundings(**{VARIABLE: request})
            pid = self._children.start([program.path, request], surrounded)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        self._running[pid] = name
        start = start_of(self._places.proc, pid)
        if start is not None:
            self._notes.add(f"{name} {pid} {start} {now() + program.deadline!r}")
        return ""

    def end(self, name: str, now: float) -> None:
        """End one that runs."""
        if name in self._adopted:
            self._children.end(self._adopted[name].pid, now)
        for pid, running in self._running.items():
            if running == name:
                self._children.end(pid, now)

    @property
    def look_again(self) -> float:
        """When ``gone`` is wanted at the latest; infinite while nobody else's script runs."""
        return now() + LOOK_AGAIN if self._adopted else inf

    def gone(self) -> list[tuple[str, str]]:
        """Return names and problems of those that somebody else began and that have ended."""
        ended = [
            name
            for name, process in self._adopted.items()
            if self._still(process) is None and not self._children.lingers(process.pid)
        ]
        for name in ended:
            self._children.forget(self._adopted.pop(name).pid)
        return [(name, UNSEEN) for name in ended]

    def ended(self, pid: int, code: int) -> tuple[str, str] | None:
        """Return the name and the problem of the script that has ended; None: it was none."""
        name = self._running.pop(pid, None)
        return None if name is None else (name, problem_of(code))

    def _begun(self) -> dict[str, Begun | None]:
        """What was begun; None: it is not known as which process."""
        begun: dict[str, Begun | None] = {}
        for name, *process in filter(None, map(str.split, self._notes.read())):
            begun[name] = None
            with suppress(ValueError):
                pid, start, overdue = process
                begun[name] = Begun(int(pid), int(start), float(overdue))
        return begun

    def _still(self, process: Begun | None) -> Begun | None:
        """Return the process if it still runs: a pid may belong to another one by now."""
        if process is None or start_of(self._places.proc, process.pid) != process.start:
            return None
        return process


def start_of(proc: str, pid: int) -> int | None:
    """Return when a process was started, in clock ticks; None when there is none that runs."""
    with suppress(OSError, ValueError, IndexError), open(f"{proc}/{pid}/stat", "rb") as file:
        # The name, in parentheses, may hold anything; field 3 of proc(5) follows.
        fields = file.read(4096).rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    return None


def owners() -> tuple[int, ...]:
    """Whose files are run: root's, and where the agent is on trial as somebody else, that one's."""
    return tuple({0, os.geteuid()})
