"""Programs that the agent starts: each in a process group of its own, ended for good when told.

They are started with posix_spawn(3), nothing to read, and their output on the agent's standard
error. Who is told to end gets SIGTERM, with all of the group, and five seconds later SIGKILL. A
shell ends at once and leaves what it called in the middle of tidying up, so what is told to end has
ended when nothing of its group is left.

That memory is never taken from the agent is the agent's own affair: what it starts is like any
other program. posix_spawn cannot say so, so it is said right after.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from lamplighter.guest.clock import now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.guest.log import Log

#: So long, in seconds, a group that got SIGTERM may take before it gets SIGKILL.
LAST_CHANCE = 5.0

#: Seconds between two looks whether anything is left of a group whose first process has ended.
LOOK_AGAIN = 0.2

#: What a program must not inherit as ignored.
USUAL = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

#: Where an administrator puts programs, ours among them. Not every init has it in ``PATH``.
LOCAL = ("/usr/local/sbin", "/usr/local/bin")

_NO_INPUT = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)


class Children:
    """The programs that run."""

    def __init__(self) -> None:
        self._ending: dict[int, float] = {}
        self._leaderless: dict[int, int] = {}  # and how the leader ended

    @property
    def wake(self) -> float:
        """When ``reap`` and ``kill_overdue`` are wanted at the latest."""
        look = now() + LOOK_AGAIN if self._leaderless else inf
        return min(look, min(self._ending.values(), default=inf))

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: int = 2
    ) -> int:
        """Start a program and return its process id; ``OSError`` when it cannot be."""
        pid = os.posix_spawnp(
            arguments[0],
            list(arguments),
            dict(environment),
            file_actions=[
                _NO_INPUT,
                (os.POSIX_SPAWN_DUP2, output, 1),
                *([] if output == 2 else [(os.POSIX_SPAWN_CLOSE, output)]),
            ],
            setpgroup=0,
            setsigdef=USUAL,
            setsigmask=(),
        )
        # Nobody but us reaps it: whatever has become of it, the pid is still its own.
        with suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("0")
        return pid

    def end(self, pid: int, moment: float) -> None:
        """Have a program end, and all that it started."""
        self._signal(pid, signal.SIGTERM)
        self._ending[pid] = moment + LAST_CHANCE

    def kill_overdue(self, moment: float) -> None:
        """End what did not do so by itself."""
        for pid, at in list(self._ending.items()):
            if moment >= at:
                self._ending[pid] = inf
                self._signal(pid, signal.SIGKILL)

    def lingers(self, pid: int) -> bool:
        """Say whether something of a group that was told to end is left, and has its time still."""
        return self._ending.get(pid, inf) < inf and self._signal(pid, 0)

    def forget(self, pid: int) -> None:
        """A program that was to end, and is nobody's child here, has ended."""
        self._ending.pop(pid, None)

    def reap(self) -> list[tuple[int, int]]:
        """Return the processes that ended since the last time and how: see ``problem_of``.

        One that was told to end has done so when all of its group has, or has got SIGKILL.
        """
        ended = []
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                code = os.waitstatus_to_exitcode(status)
                if pid in self._ending:
                    self._leaderless[pid] = code
                else:
                    ended.append((pid, code))
        for pid, code in list(self._leaderless.items()):
            if self._ending[pid] == inf or not self._signal(pid, 0):
                del self._leaderless[pid], self._ending[pid]
                ended.append((pid, code))
        return ended

    def _signal(self, group: int, number: int) -> bool:
        """Say whether there was anybody to get it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            return True
        return False


def surroundings(**more: str) -> dict[str, str]:
    """Return the environment of the administrator's programs, who call ours by its name.

    What is missing in ``PATH`` comes last: what is found there already is found as before.
    """
    path = [part for part in os.environ.get("PATH", os.defpath).split(":") if part]
    path += [folder for folder in LOCAL if folder not in path]
    return {**os.environ, "PATH": ":".join(path), **more}


def problem_of(code: int) -> str:
    """Say how a program ended that did not end well: ``exit status 3``; empty when it did."""
    if code >= 0:
        return f"exit status {code}" if code else ""
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def run_to_end(children: Children, log: Log, arguments: Sequence[str]) -> int:
    """Start a program and wait for its end; return its exit status, or 127 with the reason told."""
    try:
        pid = children.start(arguments, os.environ)
    except OSError as error:
        log.warn(f"{arguments[0]} cannot be started: {error.strerror}")
        return 127
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
