"""What makes a process outlive everything else on a Linux system, systemd's end of it included.

systemd ends a unit by killing its control group, so the process leaves it for the root of the
tree. At the very end systemd-shutdown sends SIGTERM and then SIGKILL to all that is left, but for
processes of root's whose command line begins with ``@``: that is for daemons which the root file
system hangs on (systemd.io/ROOT_STORAGE_DAEMONS), and a guard is the same kind of thing. The rest
is for bad days: no memory (never chosen by the kernel; ``power`` keeps it from being swapped out),
no processor (before every ordinary process), no disk (nothing of it is open, its working directory
is none of it).

Each step can fail alone, and the others are still worth having: what failed is told.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What stands in the process list in the place of the command line.
TITLE = b"@lamplighter-agent guard"
NAME = b"lamplighter-grd"

#: The root of the tree of control groups: version 2, both versions, version 1. systemd needs to see
#: it left in each that there is.
CGROUPS = (
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs",
    "/sys/fs/cgroup/systemd/cgroup.procs",
)

#: What can be ignored of what might be sent; SIGKILL and SIGSTOP cannot.
IGNORED = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE),
    *(signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPWR, signal.SIGXCPU),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGWINCH),
)


def detach() -> None:
    """Leave the session, the group and the reach of all signals that can be ignored."""
    signal.set_wakeup_fd(-1)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()


def harden() -> list[str]:
    """Do all of it; return what failed, in words."""
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
    return [problem for what, step in steps if (problem := _try(what, step))]


def _try(what: str, step: Callable[[], object]) -> str:
    """Take a step; return what failed."""
    try:
        step()
    except (OSError, ValueError, IndexError, MemoryError) as error:
        return f"{what}: {str(error) or type(error).__name__}"
    return ""


def leave_cgroups(places: Iterable[str] = CGROUPS) -> None:
    """Move into the root of each tree; ``OSError`` when one does not take us or there is none."""
    there = [place for place in places if os.path.exists(place)]
    if not there:
        raise FileNotFoundError(2, "there are no control groups")
    if problems := [told for place in there if (told := _try(place, partial(_write, place, b"0")))]:
        raise OSError("; ".join(problems))


def rename(proc: str = "/proc/self") -> None:
    """Overwrite the command line, in place, where the kernel shows it from."""
    with open(f"{proc}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # Fields 48 and 49 of proc(5); the first one here is the third.
    start, end = int(fields[45]), int(fields[46])
    room = end - start
    if room < 2:
        raise ValueError("there is no command line")
    title = TITLE[: room - 1].ljust(room, b"\0")
    with open(f"{proc}/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(title)


def schedule() -> None:
    """Run before every ordinary process; what is forked for a moment does so as well."""
    least = os.sched_get_priority_min(os.SCHED_FIFO)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(least))


def close_all_but(kept: Iterable[int]) -> None:
    """Close what is open, but for these; the standard streams lead nowhere then."""
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
