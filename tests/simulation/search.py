"""Look for a deliberate defect: ``python -m tests.simulation.search NAME [--seeds FROM TO]``.

The first seed that finds it ends the search; it leaves with 1 when none does. ``--first`` names
seeds that are tried before the others. This is a program of its own because what is sabotaged must
not have been imported before.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from tests.simulation import sabotage

SEEDS = (0, 2000)


def main() -> int:
    """Search, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.search")
    parser.add_argument("name", choices=sabotage.SABOTAGES)
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"), default=SEEDS)
    parser.add_argument("--first", nargs="*", type=int, metavar="SEED", default=())
    args = parser.parse_args()
    sabotage.commit(args.name)
    played = import_module("tests.simulation.playing").played
    for seed in dict.fromkeys((*args.first, *range(*args.seeds))):
        if wrong := played(seed).wrong:
            sys.stdout.write(f"found by seed {seed}: {wrong.splitlines()[-1]}\n")
            return 0
    sys.stdout.write("NOT FOUND by any seed\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
