"""A few stories from seeds; ``make simulation`` plays 2,000, ``make soak`` ever more.

A story that fails is printed in full, with its seed: ``python -m tests.simulation --show SEED``
plays it again.
"""

from __future__ import annotations

import pytest

from tests.simulation.playing import played

SEEDS = 100

#: Seeds of one test: enough tests to share them out.
BLOCK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_seed_keeps_the_invariants(first: int) -> None:
    told = [wrong for seed in range(first, first + BLOCK) if (wrong := played(seed).wrong)]
    assert not told, "\n\n".join(told)
