"""Play seeds: ``python -m tests.simulation [--seeds FROM TO] [--sabotage NAME] [--soak SEED]``.

Tells each seed that fails with its story, and leaves with 1 if one did. With ``--sabotage`` the
first seed that finds the defect ends it, and it leaves with 1 when none does. A soak goes on from
its seed until it is told to stop.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from tests.simulation import sabotage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: It is told every so many seeds how far it is.
TOLD_EVERY = 500


def main() -> int:
    """Play, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 2000), metavar=("FROM", "TO"))
    parser.add_argument("--sabotage", choices=sabotage.SABOTAGES, metavar="NAME")
    parser.add_argument("--soak", type=int, metavar="SEED")
    args = parser.parse_args()
    if args.sabotage:
        sabotage.commit(args.sabotage)
    # Not before: what is sabotaged must not have been imported.
    play: Callable[[int], str] = import_module("tests.simulation.chaos").play
    seeds = range(*args.seeds) if args.soak is None else count(args.soak)
    return _find(seeds, play) if args.sabotage else _play(seeds, play)


def _play(seeds: Iterable[int], play: Callable[[int], str]) -> int:
    failed = 0
    try:
        for played, seed in enumerate(seeds, 1):
            if wrong := play(seed):
                failed += 1
                _say(f"{wrong}\nagain: python -m tests.simulation --seeds {seed} {seed + 1}")
            if played % TOLD_EVERY == 0:
                _say(f"{played} seeds, {failed} failed")
    except KeyboardInterrupt:
        _say(f"told to stop; {failed} failed")
    return int(failed > 0)


def _find(seeds: Iterable[int], play: Callable[[int], str]) -> int:
    for seed in seeds:
        if wrong := play(seed):
            _say(f"seed {seed}: {wrong.splitlines()[-1]}")
            return 0
    _say("no seed found it")
    return 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
