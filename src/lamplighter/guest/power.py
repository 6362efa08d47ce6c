"""How a system ends: by its own shutdown, or by force.

``Power`` does it; ``Rehearsal`` writes into a file what would be done, for trials and tests.
The force is reboot(2), which asks nobody, and where that fails or is not to be had the kernel's
magic SysRq. All that it needs is opened by ``prepare``, and what lies on a disk was loaded when the
agent began (``load``): when the end is near, no disk may answer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamplighter.guest.processes import Children

#: What starts the system's own shutdown; both are there whatever the init is.
PROGRAMS = {"poweroff": "/sbin/poweroff", "halt": "/sbin/poweroff", "reboot": "/sbin/reboot"}

#: reboot(2)'s orders (linux/reboot.h). A domain that is halted is not off: it goes off as well.
POWER_OFF, RESTART = 0x4321FEDC, 0x01234567
ORDERS = {"poweroff": POWER_OFF, "halt": POWER_OFF, "reboot": RESTART}

SYSRQ = "/proc/sysrq-trigger"
SYSRQ_SYNC = b"s"
SYSRQ_LETTERS = {"poweroff": b"o", "halt": b"o", "reboot": b"b"}


class Power:
    """Ends the system."""

    #: Whether nothing is ended.
    rehearses = False

    def __init__(self) -> None:
        self._libc: Any = None
        self._without_libc = "it was not looked for"
        self._sysrq = -1

    def load(self) -> None:
        """Load what may lie on a disk. Whoever is forked later has it, whatever the disk does."""
        try:
            libc = import_module("ctypes").CDLL(None)
            for name in ("reboot", "mlockall"):
                getattr(libc, name)
            self._libc = libc
        except (ImportError, OSError, AttributeError, MemoryError) as error:
            self._without_libc = str(error) or type(error).__name__

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What must stay open."""
        return (self._sysrq,) if self._sysrq >= 0 else ()

    def shut_down(self, request: str, children: Children) -> int:
        """Start the system's own shutdown; ``OSError`` when it cannot be.

        Return the process that begins it: it has, once it ends with status 0.
        """
        return children.start([PROGRAMS[request]], os.environ)

    def prepare(self) -> list[str]:
        """Open what the force needs; return what could not be had."""
        missing = [] if self._libc is not None else [f"reboot(2): {self._without_libc}"]
        try:
            self._sysrq = os.open(SYSRQ, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            missing.append(f"{SYSRQ}: {error.strerror}")
        return missing

    def lock_memory(self, *, read: bool) -> str:
        """Keep this process in memory; return why not, or nothing.

        With ``read`` all that belongs to it is read in, which waits for the disk; without, only
        what is there stays.
        """
        current, future, on_fault = 1, 2, 4
        flags = current | future | (0 if read else on_fault)
        if self._libc is None or self._libc.mlockall(flags) == 0:
            return ""
        return "mlockall(2) failed"

    def sync(self) -> None:
        """Have dirty pages written, and return when they are; on a dead disk that is never."""
        self._press(SYSRQ_SYNC)
        os.sync()

    def force(self, request: str) -> None:
        """End the system now. It returns only when it failed."""
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
    """Writes what would be done into a file, a line each."""

    rehearses = True

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The file's."""
        return (self._file,)

    def shut_down(self, request: str, children: Children) -> int:
        """Write which program would be started; 0, because there is no process."""
        self._write(f"start {PROGRAMS[request]}")
        return 0

    def load(self) -> None:
        """There is nothing to load."""

    def prepare(self) -> list[str]:
        """There is nothing to prepare."""
        return []

    def sync(self) -> None:
        """Write that it would be done."""
        self._write("sync")

    def force(self, request: str) -> None:
        """Write which order would be given."""
        self._write(f"reboot {ORDERS[request]:#010x}")

    def force_by_key(self, request: str) -> None:
        """Write which key would be pressed."""
        self._write(f"sysrq {SYSRQ_LETTERS[request].decode()}")

    def _write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())
