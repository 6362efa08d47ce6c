"""The agent in a guest: what it keeps resident, and that it sleeps while nothing happens.

Both are measured against a limit, with the one file that goes into guests, started as its unit
starts it, at an embedded host's XenStore.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.coldstart import host
from bench.monitor import status_of, wakes
from bench.ratio import Ratio, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILDER = Path(__file__).parent.parent / "tools" / "make-agent"

#: MiB that may be resident.
LIMIT = 15.0

#: For so many seconds it looks for a shutdown that had begun before it; then, for so many
#: seconds, nothing happens, and so often it may be woken meanwhile.
SETTLED = 12.0
QUIET = 5.0
WAKES = 0.0


def measure() -> Iterator[Ratio]:
    """Measure both with one agent."""
    program = Path(sys.executable).with_name("lamplighter")
    if not program.exists():
        raise Skipped(f"{program} is not installed")
    with host(program) as environment, agent(environment) as pid:
        time.sleep(SETTLED)
        resident = status_of(pid, "VmRSS") / 1024
        yield Ratio("agent, resident", *(resident, LIMIT, resident / LIMIT, "MiB"), *(1.0, True))
        before = wakes(pid)
        time.sleep(QUIET)
        woken = float(wakes(pid) - before)
        yield Ratio(
            f"agent, woken in {QUIET:g} s", woken, WAKES, woken, "times", WAKES, at_most=True
        )


@contextmanager
def agent(environment: dict[str, str]) -> Iterator[int]:
    """Run the agent in a rehearsal; yield its process id."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "lamplighter-agent"
        subprocess.run([sys.executable, BUILDER, program], check=True)
        store = Path(environment["LAMPLIGHTER_CONFIG"]).with_name("run") / "xenstored.sock"
        places: list[str | Path] = [
            "--xenstore",
            store,
            "--etc",
            folder,
            "--run",
            Path(folder) / "run",
        ]
        running = subprocess.Popen(
            [sys.executable, "-IS", program, "run", *places, "--rehearse", Path(folder) / "end"],
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        )
        try:
            yield running.pid
        finally:
            running.kill()
            running.wait()
