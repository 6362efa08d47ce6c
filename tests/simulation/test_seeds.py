"""Stories from seeds, and a dozen defects that they have to find.

A story that fails is told whole, with its seed: ``python -m tests.simulation --seeds N N+1`` plays
it again. ``make soak`` plays others until it is told to stop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.chaos import play
from tests.simulation.sabotage import SABOTAGES

SEEDS = 300

#: Within so many a deliberate defect has to be found; most are found by the first few.
SEARCHED = 2000

#: Seeds of one test: enough tests to share them out.
BLOCK = 50


# A power cut may leave a connection half accepted, which the collector of garbage remarks on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_seed_keeps_the_invariants(first: int) -> None:
    told = [wrong for seed in range(first, first + BLOCK) if (wrong := play(seed))]
    assert not told, "\n\n".join(told)


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_deliberate_defect_is_found_within_these_seeds(name: str) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.simulation",
            "--sabotage",
            name,
            "--seeds",
            "0",
            str(SEARCHED),
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("seed ")
