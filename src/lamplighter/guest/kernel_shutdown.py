"""Detects in ``/proc`` that the kernel has begun the system's shutdown, for the daemon.

A kernel that takes a ``poweroff`` from ``control/shutdown`` starts ``/sbin/poweroff`` (or what
``/proc/sys/kernel/poweroff_cmd`` says), on a ``reboot`` ``/sbin/reboot``. The program is a child of
a kernel thread, which only the kernel can start. It is short-lived, so not finding one proves
nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress

POWEROFF, REBOOT = ("/sbin/poweroff",), ("/sbin/reboot",)

#: The pid of kthreadd, the parent of all kernel threads, and their flag (``PF_KTHREAD``).
KTHREADD = 2
IS_KERNEL = 0x200000


def find_request(proc: str = "/proc") -> str | None:
    """Return the ``poweroff`` or ``reboot`` that the kernel was seen to begin, or None."""
    command = tuple(_text(f"{proc}/sys/kernel/poweroff_cmd").split())
    commands = {"poweroff": command or POWEROFF, "reboot": REBOOT}
    with suppress(OSError):
        # The newest first, and only one file of each: it may be gone in a few milliseconds.
        for pid in sorted(map(int, filter(str.isdigit, os.listdir(proc))), reverse=True):
            arguments = tuple(_text(f"{proc}/{pid}/cmdline").split("\0"))
            for request, command in commands.items():
                # A script is preceded by its interpreter, which may have one argument.
                if all(arguments[at : at + len(command)] != command for at in range(3)):
                    continue
                parent, _ = _parent_and_flags(proc, pid)
                if parent == KTHREADD:
                    return request
                if parent > 1 and _parent_and_flags(proc, parent)[1] & IS_KERNEL:
                    return request
    return None


def _parent_and_flags(proc: str, pid: int) -> tuple[int, int]:
    """Return fields 4 and 9 of ``stat``; zeros for a process that has gone."""
    # The name, in parentheses, may contain anything.
    fields = _text(f"{proc}/{pid}/stat").rpartition(")")[2].split()
    try:
        return int(fields[1]), int(fields[6])
    except (IndexError, ValueError):
        return 0, 0


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""
