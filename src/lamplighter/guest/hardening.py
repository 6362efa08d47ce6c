"""Hardens the guard so that it outlives all other processes, even systemd's final kill.

systemd stops a unit by killing its control group, so the guard moves to the root of the tree. At
the very end systemd-shutdown sends SIGTERM and then SIGKILL to all remaining processes, except
those of root whose command line begins with ``@``. That exception is for daemons which the root
file system depends on (systemd.io/ROOT_STORAGE_DAEMONS), and a guard is similar. The other steps
are for a system without memory (the kernel never chooses the guard to kill; ``power`` keeps it from
being swapped out), without processor time (it runs before every ordinary process) or without a
disk (no file there is open, nor is it the working directory).

Each step can fail alone, and the others are still worth having, so failures are only reported.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The command line and the name of the guard in the process list.
TITLE = b"@lamplighter-agent guard"
NAME = b"lamplighter-grd"

#: The root control group: version 2, hybrid, version 1. The process has to move there in each that
#: exists for systemd to notice.
CGROUPS = (
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs",
    "/sys/fs/cgroup/systemd/cgroup.procs",
)

#: The signals to ignore, of those that might be sent; SIGKILL and SIGSTOP cannot be ignored.
IGNORED = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE),
    *(signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPWR, signal.SIGXCPU),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGWINCH),
)


def detach() -> None:
    """Leave the session and the process group, and ignore ``IGNORED``."""
    signal.set_wakeup_fd(-1)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()


def harden() -> list[str]:
    """Take all steps; return a message for each one that failed."""
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("leaving the control group", leave_cgroups),
        ("the name that systemd spares", rename),
        ("the name in the process list", partial(_write, "/proc/self/comm", NAME)),
        (
            "never to be chosen when memory ends",
            partial(_write, "/proc/self/oom_score_adj", b"-1000"),
        ),
        ("real-time scheduling", schedule),
        ("leaving the working directory", partial(os.chdir, "/")),
    )
    return [problem for what, step in steps if (problem := _try(what, step)) is not None]


def _try(what: str, step: Callable[[], object]) -> str | None:
    """Take a step; return what failed, None if nothing did."""
    try:
        step()
    except (OSError, ValueError, IndexError, MemoryError) as error:
        return f"{what}: {str(error) or type(error).__name__}"
    return None


def leave_cgroups(places: Iterable[str] = CGROUPS) -> None:
    """Move to the root of each tree; ``OSError`` if one refuses or there is none."""
    there = [place for place in places if os.path.exists(place)]
    if not there:
        raise FileNotFoundError(2, "there are no control groups")
    if problems := [
        problem
        for place in there
        if (problem := _try(place, partial(_write, place, b"0"))) is not None
    ]:
        raise OSError("; ".join(problems))


def rename(proc: str = "/proc/self") -> None:
    """Overwrite the command line in place, in the memory that the kernel shows it from."""
    with open(f"{proc}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # Fields 48 and 49 of proc(5), arg_start and arg_end; ``fields`` starts with the third.
    start, end = int(fields[45]), int(fields[46])
    room = end - start
    if room < 2:
        raise ValueError("there is no command line")
    title = TITLE[: room - 1].ljust(room, b"\0")
    with open(f"{proc}/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(title)


def schedule() -> None:
    """Run before every ordinary process; child processes inherit that."""
    least = os.sched_get_priority_min(os.SCHED_FIFO)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(least))


def close_all_but(kept: Iterable[int]) -> None:
    """Close all descriptors but these; standard streams not among them become ``/dev/null``."""
    staying = {descriptor for descriptor in kept if descriptor >= 0}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        if standard not in staying:
            os.dup2(nowhere, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in staying:
            with suppress(OSError):
                os.close(int(name))


def _write(path: str, value: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(value)
