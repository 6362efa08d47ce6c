"""How long a stop of a thousand prompt domains takes, against a stop of the slowest alone.

The commands are typed as an administrator would, at an embedded host in real time. The domains
take between one second and ``SLOWEST`` to shut down. If no domain
delayed another, the whole stop would take as long as the slowest; what it takes more is our cost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.ratio import Ratio, Skipped, spent_by_children
from lamplighter.host.journal.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAINS = 1000
SLOWEST = 8.0
AIM = 1.5

CONFIGURATION = """\
[host]
toolstack = "embedded"
definitions = ["domains/*.cfg"]
state = "state"
run = "run"
parallel_starts = 256

[defaults]
start = "always"
"""
LAST = f"guest-{DOMAINS - 1:04}"


class Took(NamedTuple):
    """What a command took, in seconds of real time and of its own processor time."""

    wall: float
    processor: float


def measure() -> Iterator[Ratio]:
    """Measure both stops on one host."""
    program = Path(sys.executable).with_name("lamplighter")
    if not program.exists():
        raise Skipped(f"{program} is not installed")
    with farm(str(program), DOMAINS) as lamplighter:
        lamplighter("up")
        together = lamplighter("down")
        lamplighter("up", LAST)
        alone = lamplighter("down", LAST)
    yield Ratio(
        f"stop of {DOMAINS}, slowest alone",
        *(together.wall, alone.wall, together.wall / alone.wall, "s", AIM),
        at_most=True,
        processor=together.processor,
    )


class Commands:
    """Types commands; each must end with every domain as it was wanted."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._state = folder / "state"
        self.environment = {**os.environ, "LAMPLIGHTER_CONFIG": str(folder / "lamplighter.toml")}

    def __call__(self, *arguments: str) -> Took:
        """Return what the command took."""
        began, spent = time.perf_counter(), spent_by_children()
        done = subprocess.run(
            [self._program, "--json", *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        took = Took(time.perf_counter() - began, spent_by_children() - spent)
        if done.returncode:
            errors = done.stderr.decode(errors="replace")[-500:]
            raise Skipped(f"{' '.join(arguments)}: exit status {done.returncode}: {errors}")
        if arguments[0] == "down":
            ends = {entry["outcome"] for entry in json.loads(done.stdout)["domains"]}
            assert ends == {"clean"}, ends
        return took

    def transitions(self) -> int:
        """Return how many transitions the last run made."""
        with closing(JournalReader(self._state)) as reader:
            return len(reader.transitions(reader.runs(limit=1)[0].id))


@contextmanager
def farm(program: str, domains: int, *, speed: float = 1.0, policy: str = "") -> Iterator[Commands]:
    """Run an embedded host on which nothing has been started yet; yield what types at it.

    ``speed`` is how fast its time goes, ``policy`` what else ``[defaults]`` says.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "domains").mkdir(mode=0o755)
        for number in range(domains):
            takes = 1 + (SLOWEST - 1) * number / (domains - 1)
            path = folder / "domains" / f"guest-{number:04}.cfg"
            path.write_text(
                f'name = "guest-{number:04}"\nmemory = 64\n'
                f'embedded_boot = "1s"\nembedded_shutdown = "{takes * 1000:.0f}ms"\n'
            )
            path.chmod(0o644)
        (folder / "lamplighter.toml").write_text(CONFIGURATION + policy)
        commands = Commands(program, folder)
        commands("host", "start", name, "--speed", f"{speed:g}")
        try:
            yield commands
        finally:
            commands("host", "stop", name)
