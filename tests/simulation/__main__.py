"""Play seeds: ``python -m tests.simulation [--seeds FROM TO] [--sabotage NAME] [--soak SEED]``.

Without words it is what CI runs: 2,000 seeds, shared out among the processors, and then each of
the deliberate defects, which one of these seeds has to find. Each seed that fails is told with its
story and the command that plays it again; the last line counts, and it leaves with 1 when anything
failed.

With ``--sabotage`` the first seed that finds the defect ends it, and it leaves with 1 when none
does. A soak goes on from its seed until it is told to stop.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation import sabotage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEEDS = (0, 2000)
SEARCH = (sys.executable, "-m", "tests.simulation", "--sabotage")

#: A soak tells how far it is after so many seeds.
TOLD_EVERY = 500

#: So many seeds are handed to a process at a time.
HANDED = 10


class Played(NamedTuple):
    """One seed, and what was wrong in its story; nothing when it kept every invariant."""

    seed: int
    wrong: str


def main() -> int:
    """Play, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"))
    parser.add_argument("--sabotage", choices=sabotage.SABOTAGES, metavar="NAME")
    parser.add_argument("--soak", type=int, metavar="SEED")
    args = parser.parse_args()
    seeds = range(*(args.seeds or SEEDS))
    if args.sabotage:
        return _find(args.sabotage, seeds)
    if args.soak is not None:
        return _soak(args.soak)
    began = time.monotonic()
    failed = _play(seeds)
    told = f"{len(seeds) - failed} of {len(seeds)} seeds passed"
    missed = 0
    if not args.seeds:
        missed = _search()
        found = len(sabotage.SABOTAGES) - missed
        told += f", {found} of {len(sabotage.SABOTAGES)} deliberate defects found"
    _say(f"{told}, in {time.monotonic() - began:.0f} s")
    return int(failed + missed > 0)


def _play(seeds: Iterable[int]) -> int:
    """Play seeds on every processor; return how many failed."""
    failed = 0
    with get_context("spawn").Pool() as pool:
        for played in pool.imap(_played, seeds, chunksize=HANDED):
            if played.wrong:
                failed += 1
                again = f"python -m tests.simulation --seeds {played.seed} {played.seed + 1}"
                _say(f"{played.wrong}\nagain: {again}")
    return failed


def _played(seed: int) -> Played:
    return Played(seed, _player()(seed))


def _player() -> Callable[[int], str]:
    """Import the story: not before, because what is sabotaged must not have been imported."""
    play: Callable[[int], str] = import_module("tests.simulation.chaos").play
    return play


def _search() -> int:
    """Have each deliberate defect looked for in a process of its own; return how many were not."""
    with ThreadPoolExecutor(os.cpu_count()) as searchers:
        statuses = searchers.map(_searched, sabotage.SABOTAGES)
        return sum(status != 0 for status in statuses)


def _searched(name: str) -> int:
    ended = subprocess.run([*SEARCH, name], capture_output=True, text=True, check=False)
    _say(f"{name}: {(ended.stdout or ended.stderr).strip()}")
    return ended.returncode


def _find(name: str, seeds: Iterable[int]) -> int:
    sabotage.commit(name)
    play = _player()
    for seed in seeds:
        if wrong := play(seed):
            _say(f"found by seed {seed}: {wrong.splitlines()[-1]}")
            return 0
    _say("NOT FOUND by any seed")
    return 1


def _soak(first: int) -> int:
    failed = 0
    try:
        for begin in count(first, TOLD_EVERY):
            failed += _play(range(begin, begin + TOLD_EVERY))
            _say(f"{begin + TOLD_EVERY - first} seeds, {failed} failed")
    except KeyboardInterrupt:
        _say(f"told to stop; {failed} failed")
    return int(failed > 0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
