"""The end of this process, should it hang: the kernel's timer kills it unless that is put off.

systemd would do the same when a time-out passes, but a unit whose start timed out is failed, and a
failed unit is not stopped with the host: every domain would be cut off. What dies by itself in
``ExecStart=-`` leaves the unit active. The timer needs nothing of Python: whatever this process
waits for, SIGALRM ends it (save in the kernel, where nothing does).
"""

from __future__ import annotations

import signal


def arm_alarm(seconds: float) -> None:
    """End this process in so many real seconds, unless this is called again before."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def disarm_alarm() -> None:
    """Let this process take as long as it likes."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
