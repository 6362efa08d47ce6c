"""The processor time that one transition costs us, as the number of domains grows.

A run that looks at every domain for each domain is as fast as any with ten of them, and takes
minutes with thousands. So whole starts and stops are measured at three sizes, and what a transition
costs at one size is compared with the size before it.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Ratio, Skipped
from bench.stop import farm

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (250, 1000, 4000)

#: Creating takes a lock on the host, so four thousand would take some three minutes of its time.
SPEED = 4.0

#: At that speed time-outs pass while the machine works; no domain is to be given up.
POLICY = """
start_timeout = "1h"
ack_timeout = "1h"
stop_timeout = "2h"
"""
AIM = 1.2


def measure() -> Iterator[Ratio]:
    """Measure a start and a stop at each size."""
    program = Path(sys.executable).with_name("lamplighter")
    if not program.exists():
        raise Skipped(f"{program} is not installed")
    before: dict[str, float] = {}
    for small, size in pairwise((0, *SIZES)):
        with farm(str(program), size, speed=SPEED, policy=POLICY) as lamplighter:
            for verb in ("up", "down"):
                spent = lamplighter(verb).processor
                cost = spent / lamplighter.transitions() * 1000
                if verb in before:
                    yield Ratio(
                        f"a transition, {verb} of {size}, of {small}",
                        *(cost, before[verb], cost / before[verb], "ms", AIM),
                        at_most=True,
                        processor=spent,
                    )
                before[verb] = cost
