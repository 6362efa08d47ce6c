"""A seed is the whole story: played again, in this process or another, it goes the same way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.chaos import play

#: Stories with several domains, kills and troubles; none of them is short.
SEEDS = (0, 43, 57, 104)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_goes_the_same_way_twice(seed: int) -> None:
    first, second = play(seed), play(seed)
    assert len(first.log) > 30
    assert first.log == second.log
    assert first.sights == second.sights


def test_a_seed_goes_the_same_way_in_another_process() -> None:
    told = [_told_elsewhere(SEEDS[0], hash_seed) for hash_seed in ("1", "2")]
    assert told[0] == told[1] == "\n".join((*play(SEEDS[0]).log, "every invariant holds")) + "\n"


def _told_elsewhere(seed: int, hash_seed: str) -> str:
    """Have a seed told by a process in which sets of words have another order."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--show", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout
