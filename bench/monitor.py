"""The monitor of a thousand domains: what it keeps resident, and that it sleeps between events.

Both are measured against a limit. A process that never runs makes no system call: the kernel counts
each time that it had one run, in ``/proc/PID/status``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Ratio, Skipped
from bench.stop import DOMAINS, farm
from lamplighter.host.monitor_socket import ask_monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

#: MiB that may be resident, with all domains up.
LIMIT = 60.0

#: For how many seconds nothing happens, and how often the monitor may be woken meanwhile.
QUIET = 20.0
WAKES = 0.0

#: How long the monitor may take to have seen all of it, in seconds.
PATIENCE = 60.0


def measure() -> Iterator[Ratio]:
    """Measure both with one monitor."""
    program = Path(sys.executable).with_name("lamplighter")
    if not program.exists():
        raise Skipped(f"{program} is not installed")
    with farm(str(program), DOMAINS) as lamplighter:
        monitor = subprocess.Popen(
            [program, "monitor"], env=lamplighter.environment, stderr=subprocess.DEVNULL
        )
        try:
            lamplighter("up")
            _await_all(Path(lamplighter.environment["LAMPLIGHTER_CONFIG"]).with_name("run"))
            resident = status_of(monitor.pid, "VmRSS") / 1024
            yield Ratio(
                f"monitor of {DOMAINS}, resident",
                *(resident, LIMIT, resident / LIMIT, "MiB"),
                *(1.0, True),
            )
            before = wakes(monitor.pid)
            time.sleep(QUIET)
            woken = float(wakes(monitor.pid) - before)
            yield Ratio(
                f"monitor, woken in {QUIET:g} s", woken, WAKES, woken, "times", WAKES, at_most=True
            )
        finally:
            monitor.kill()
            monitor.wait()


def _await_all(run: Path) -> None:
    """Return when the monitor has seen every domain start."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        watched = ask_monitor(run)
        if watched is not None and len(watched.last_events) == DOMAINS:
            time.sleep(2)
            return
    raise Skipped(f"the monitor had not seen all domains after {PATIENCE:g} s")


def wakes(pid: int) -> int:
    """Return how often a process has had the processor."""
    return status_of(pid, "voluntary_ctxt_switches") + status_of(pid, "nonvoluntary_ctxt_switches")


def status_of(pid: int, key: str) -> int:
    """Return a number of ``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))
