"""Starts and terminates the agent's child processes, each in a process group of its own.

They are started with posix_spawn(3), with no input, and with their output on the agent's standard
error. To terminate one, its whole group gets SIGTERM, and SIGKILL five seconds later. A shell ends
at once, while the programs it called may still be cleaning up; so a process that was terminated
counts as ended when its whole group is gone.

The agent is protected from the OOM killer, but its children must not be. posix_spawn(3) has no
option for that, so it is set right afterwards.
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

#: Seconds between a group's SIGTERM and its SIGKILL.
LAST_CHANCE = 5.0

#: Seconds between two checks whether a group whose first process has ended is gone.
LOOK_AGAIN = 0.2

#: The signals that a program must not inherit as ignored.
USUAL = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

#: Where an administrator installs programs, also the agent. Not every init has them in ``PATH``.
LOCAL = ("/usr/local/sbin", "/usr/local/bin")

_NO_INPUT = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)


class Children:
    """The agent's running child processes."""

    def __init__(self) -> None:
        self._ending: dict[int, float] = {}
        self._leaderless: dict[int, int] = {}  # group: the leader's exit code

    @property
    def wake(self) -> float:
        """When ``reap`` and ``kill_overdue`` are due at the latest."""
        look = now() + LOOK_AGAIN if self._leaderless else inf
        return min(look, min(self._ending.values(), default=inf))

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: int = 2
    ) -> int:
        """Start a program and return its process id; ``OSError`` if that fails."""
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
        # Only this process reaps it, so the pid cannot belong to another process yet.
        with suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("0")
        return pid

    def end(self, pid: int, moment: float) -> None:
        """Terminate a program and its whole process group."""
        self._signal(pid, signal.SIGTERM)
        self._ending[pid] = moment + LAST_CHANCE

    def kill_overdue(self, moment: float) -> None:
        """Kill the groups that have not ended in time."""
        for pid, at in list(self._ending.items()):
            if moment >= at:
                self._ending[pid] = inf
                self._signal(pid, signal.SIGKILL)

    def lingers(self, pid: int) -> bool:
        """Return whether part of a terminated group is left and not yet overdue."""
        return self._ending.get(pid, inf) < inf and self._signal(pid, 0)

    def forget(self, pid: int) -> None:
        """Forget a terminated program that is not a child of this process and has ended."""
        self._ending.pop(pid, None)

    def reap(self) -> list[tuple[int, int]]:
        """Return pid and exit code of the processes that ended since the last call.

        For the codes see ``problem_of``. A process that was terminated has ended when its whole
        group is gone or has got SIGKILL.
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
        """Send a signal to a group; return whether any process got it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            return True
        return False


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment of the administrator's programs, which call the agent by its name.

    The folders missing in ``PATH`` are appended, so that programs found already stay the same.
    """
    path = [part for part in os.environ.get("PATH", os.defpath).split(":") if part]
    path += [folder for folder in LOCAL if folder not in path]
    return {**os.environ, "PATH": ":".join(path), **more}


def problem_of(code: int) -> str | None:
    """Return how a program failed, such as ``exit status 3``; None if it succeeded."""
    if code >= 0:
        return f"exit status {code}" if code else None
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def run_to_end(children: Children, log: Log, arguments: Sequence[str]) -> int:
    """Run a program; return its exit status, or 127, with the reason logged, if it cannot start."""
    try:
        pid = children.start(arguments, os.environ)
    except OSError as error:
        log.warn(f"{arguments[0]} cannot be started: {error.strerror}")
        return 127
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
