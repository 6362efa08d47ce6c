"""Notifications from a process of a unit to systemd, and the alarm that ends a hanging process.

systemd passes its notification socket to the processes that may report for a unit; without one,
nothing is sent. A failure here must not disturb the actual work of the process, so sending never
raises and never blocks; what must arrive is sent again.

``arm_alarm``: a kernel timer kills the process unless it is armed again in time. systemd would do
the same when a time-out passes, but a unit whose start timed out is failed, and a failed unit is
not stopped with the host: every domain would be cut off. A process of ``ExecStart=-`` that dies by
itself leaves the unit active. The timer needs nothing of Python: whatever this process waits for,
SIGALRM ends it (except inside the kernel, where nothing does).
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from lamplighter.formats.sd_notify import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The environment variables in which systemd passes the socket, the time within which it expects
#: the watchdog's notification, and the process that is to send it.
VARIABLE = "NOTIFY_SOCKET"

WATCHDOG = "WATCHDOG_USEC"

WATCHDOG_PID = "WATCHDOG_PID"

#: The process that systemd (248 and later) started with these variables: another one that has it
#: inherited them, such as a command that is typed in a shell below some other service.
EXEC_PID = "SYSTEMD_EXEC_PID"


class Notifier:
    """Sends to the socket at ``address``: a path, or ``@name`` in the abstract namespace."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """Return the notifier of this process; inactive where the socket is another process's."""
        own = str(os.getpid())
        return cls(environ.get(VARIABLE, "") if environ.get(EXEC_PID, own) == own else "")

    @property
    def active(self) -> bool:
        """Whether systemd expects notifications from this process."""
        return bool(self._address)

    def send(
        self,
        *,
        status: str | None = None,
        extend: float | None = None,
        ready: bool = False,
        stopping: bool = False,
        watchdog: bool = False,
    ) -> bool:
        """Send what ``formats/sd_notify`` can encode; return whether it was sent."""
        if not self.active:
            return False
        message = encode(
            ready=ready, stopping=stopping, watchdog=watchdog, status=status, extend=extend
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto(message, self._address)
        except (OSError, ValueError):
            return False
        return True


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's time in seconds; None if systemd has none for this process."""
    pid, limit = environ.get(WATCHDOG_PID, ""), environ.get(WATCHDOG, "")
    if (pid and pid != str(os.getpid())) or not limit.isdecimal() or not int(limit):
        return None
    return int(limit) / 1_000_000


def arm_alarm(seconds: float) -> None:
    """Have this process killed in so many real seconds, unless this is called again before."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def disarm_alarm() -> None:
    """Cancel the alarm."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
