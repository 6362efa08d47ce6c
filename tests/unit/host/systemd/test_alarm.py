"""That a process which hangs ends by itself, and no other does."""

from __future__ import annotations

import signal
import subprocess
import sys

#: Says that it lives, again and again, and then waits for ever, in the middle of a call.
HANGS = """
import os
from lamplighter.host.systemd.notify import arm_alarm, disarm_alarm
for _ in range(1000):
    arm_alarm({seconds})
{then}
os.read(0, 1)
"""


def end_of(then: str, *, let_go: bool) -> int:
    with subprocess.Popen(
        [sys.executable, "-c", HANGS.format(then=then, seconds=20.0 if let_go else 0.2)],
        stdin=subprocess.PIPE,
    ) as process:
        if let_go:
            process.communicate(b"go on", timeout=30)
        return process.wait(30)


def test_what_hangs_is_ended() -> None:
    assert end_of("", let_go=False) == -signal.SIGALRM


def test_what_is_done_is_not() -> None:
    assert end_of("disarm_alarm()", let_go=True) == 0
