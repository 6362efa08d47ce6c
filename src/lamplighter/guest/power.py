"""Ends the system, by its own shutdown or by force, for the daemon and the guard.

``Power`` does it; ``Rehearsal`` writes what would be done to a file, for trials and tests. The
force is reboot(2), which depends on no other process, and if that fails or is unavailable, the
kernel's magic SysRq. ``prepare`` opens everything that the force needs, and what is on a disk was
loaded when the agent started (``load``): near the end, disks may no longer respond.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamplighter.guest.processes import Children

#: The programs that start the system's own shutdown; both exist with every init.
PROGRAMS = {"poweroff": "/sbin/poweroff", "halt": "/sbin/poweroff", "reboot": "/sbin/reboot"}

#: Commands of reboot(2) (linux/reboot.h). A halted domain would stay, so a halt powers off, too.
POWER_OFF, RESTART = 0x4321FEDC, 0x01234567
ORDERS = {"poweroff": POWER_OFF, "halt": POWER_OFF, "reboot": RESTART}

SYSRQ = "/proc/sysrq-trigger"
SYSRQ_SYNC = b"s"
SYSRQ_LETTERS = {"poweroff": b"o", "halt": b"o", "reboot": b"b"}


class Power:
    """Ends the system for real."""

    def __init__(self) -> None:
        self._libc: Any = None
        self._without_libc = "it was not looked for"
        self._sysrq = -1

    def load(self) -> None:
        """Load what may be on a disk. Processes forked later have it, whatever the disk does."""
        try:
            libc = import_module("ctypes").CDLL(None)
            for name in ("reboot", "mlockall"):
                getattr(libc, name)
            self._libc = libc
        except (ImportError, OSError, AttributeError, MemoryError) as error:
            self._without_libc = str(error) or type(error).__name__

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that must stay open."""
        return (self._sysrq,) if self._sysrq >= 0 else ()

    def shut_down(self, request: str, children: Children) -> int:
        """Start the system's own shutdown; ``OSError`` if that fails.

        Return the pid of the process that begins it; its exit status 0 means that it has begun.
        """
        return children.start([PROGRAMS[request]], os.environ)

    def may_report(self, xenstore: str) -> bool:
        """Return whether a forced end may be reported to the host at this XenStore."""
        return True

    def prepare(self) -> list[str]:
        """Open what the force needs; return a message for each thing that is unavailable."""
        missing = [] if self._libc is not None else [f"reboot(2): {self._without_libc}"]
        try:
            self._sysrq = os.open(SYSRQ, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            missing.append(f"{SYSRQ}: {error.strerror}")
        return missing

    def lock_memory(self, *, read: bool) -> str | None:
        """Lock this process in memory; return why that failed, None if it did not.

        With ``read`` all its pages are read in, which waits for the disk; without, only the pages
        that are in memory stay there.
        """
        current, future, on_fault = 1, 2, 4
        flags = current | future | (0 if read else on_fault)
        if self._libc is None or self._libc.mlockall(flags) == 0:
            return None
        return "mlockall(2) failed"

    def sync(self) -> None:
        """Write dirty pages and return when that is done; with a dead disk it never returns."""
        self._press(SYSRQ_SYNC)
        os.sync()

    def force(self, request: str) -> None:
        """End the system now. Returns only if that failed."""
        if self._libc is not None:
            self._libc.reboot(ORDERS[request])
        self.force_by_key(request)

    def force_by_key(self, request: str) -> None:
        """End the system through the magic SysRq."""
        self._press(SYSRQ_LETTERS[request])

    def _press(self, letter: bytes) -> None:
        if self._sysrq >= 0:
            with suppress(OSError):
                os.write(self._sysrq, letter)


class Rehearsal(Power):
    """Writes what would be done to a file, one line for each action."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptor of the file."""
        return (self._file,)

    def shut_down(self, request: str, children: Children) -> int:
        """Write which program would be started; 0, because there is no process."""
        self._write(f"start {PROGRAMS[request]}")
        return 0

    def may_report(self, xenstore: str) -> bool:
        """Return whether this is a socket, which is a trial's; the device leads to a real host."""
        with suppress(OSError):
            return stat.S_ISSOCK(os.stat(xenstore).st_mode)
        return False

    def load(self) -> None:
        """Do nothing."""

    def prepare(self) -> list[str]:
        """Do nothing; nothing is unavailable."""
        return []

    def sync(self) -> None:
        """Write that the disks would be written."""
        self._write("sync")

    def force(self, request: str) -> None:
        """Write which reboot(2) command would be used."""
        self._write(f"reboot {ORDERS[request]:#010x}")

    def force_by_key(self, request: str) -> None:
        """Write which SysRq key would be pressed."""
        self._write(f"sysrq {SYSRQ_LETTERS[request].decode()}")

    def _write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())
