"""How long a cold start of ``lamplighter status`` takes, against ``python3 -c pass``.

It reads an embedded host with its example domains.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Ratio, Skipped, in_turns, spent_by_children

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 25
AIM = 8.0

Environment = dict[str, str]


def measure() -> Iterator[Ratio]:
    """Measure the one command."""
    program = Path(sys.executable).with_name("lamplighter")
    if not program.exists():
        raise Skipped(f"{program} is not installed")
    with host(program) as environment:
        status = [str(program), "status"]
        python = [sys.executable, "-c", "pass"]
        seconds(status, environment)  # the first one writes the bytecode
        ours, peer, ratio = in_turns(
            partial(seconds, status, environment), partial(seconds, python, environment), ROUNDS
        )
        spent = spent_by_children()
        seconds(status, environment)
        yield Ratio(
            "lamplighter status, cold start",
            *(ours, peer, ratio, "s", AIM),
            at_most=True,
            processor=spent_by_children() - spent,
        )


def seconds(command: list[str], environment: Environment) -> float:
    """Return how long a command takes; its exit status must be 0, or 1: not all is as wanted."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise Skipped(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return taken


@contextmanager
def host(program: Path) -> Iterator[Environment]:
    """Run an embedded host; yield the environment in which the commands find it."""
    with tempfile.TemporaryDirectory() as folder:
        directory = str(Path(folder) / "host")
        environment = {**os.environ, "LAMPLIGHTER_CONFIG": f"{directory}/lamplighter.toml"}
        seconds([str(program), "host", "start", directory], environment)
        try:
            yield environment
        finally:
            seconds([str(program), "host", "stop"], environment)
