"""A few stories from seeds; ``make simulation`` plays 2,000, ``make soak`` ever more.

A story that fails is told whole, with its seed: ``python -m tests.simulation --seeds N N+1`` plays
it again.
"""

from __future__ import annotations

import pytest

from tests.simulation.chaos import play

SEEDS = 100

#: Seeds of one test: enough tests to share them out.
BLOCK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_seed_keeps_the_invariants(first: int) -> None:
    told = [wrong for seed in range(first, first + BLOCK) if (wrong := play(seed))]
    assert not told, "\n\n".join(told)
