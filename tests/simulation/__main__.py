"""Play seeds: ``python -m tests.simulation [--seeds FROM TO] [--show SEED] [--soak SEED]``.

Without words it is what CI runs: 2,000 seeds, shared out among the processors, and then each of
the deliberate defects, which one of these seeds has to find (``search``). Each seed that fails is
told with its story and the command that plays it again. At the end it is counted what the stories
had in them; one thing that never came is a failure, too, and so the exit status is 1.

``--show`` plays one seed and prints its story, whatever its result. A soak goes on from its seed
until it is told to stop.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.simulation import sabotage, saw
from tests.simulation.chaos import play
from tests.simulation.playing import played
from tests.simulation.saw import Sights
from tests.simulation.search import SEEDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SEARCH = (sys.executable, "-m", "tests.simulation.search")

#: A soak reports how far it is after so many seeds.
SHOWN_EVERY = 500

#: So many seeds are handed to a process at a time.
HANDED = 10


def main() -> int:
    """Play, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"))
    parser.add_argument("--show", type=int, metavar="SEED")
    parser.add_argument("--soak", type=int, metavar="SEED")
    args = parser.parse_args()
    if args.show is not None:
        return _show(args.show)
    if args.soak is not None:
        return _soak(args.soak)
    seeds = range(*(args.seeds or SEEDS))
    began = time.monotonic()
    failed, seen = _play(seeds)
    sights = sum(seen.values(), Sights())
    _say(saw.table(sights))
    _say(f"{len(seeds) - failed} of {len(seeds)} seeds passed, in {_since(began)}")
    if args.seeds:
        return int(failed > 0)
    missing = saw.missing(sights)
    for one in missing:
        _say(f"it never came that {one}")
    began = time.monotonic()
    defects = len(sabotage.SABOTAGES)
    missed = _search(seen)
    _say(f"{defects - missed} of {defects} deliberate defects found, in {_since(began)}")
    return int(failed + missed + len(missing) > 0)


def _play(seeds: Iterable[int]) -> tuple[int, dict[int, Sights]]:
    """Play seeds on every processor; return how many failed, and what each had in it.

    A process that dies raises ``BrokenProcessPool``: nothing is waited for that does not come.
    """
    failed, seen = 0, {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for one in pool.map(played, seeds, chunksize=HANDED):
            seen[one.seed] = one.sights
            if one.wrong:
                failed += 1
                again = f"python -m tests.simulation --show {one.seed}"
                _say(f"{one.wrong}\nagain: {again}")
    return failed, seen


def _search(seen: Mapping[int, Sights]) -> int:
    """Have each deliberate defect looked for in a process of its own; return how many were not.

    ``seen`` is what each seed's story had in it: it shows which to try first.
    """
    promising = {name: one.promising(seen) for name, one in sabotage.SABOTAGES.items()}
    with ThreadPoolExecutor(os.cpu_count()) as searchers:
        return sum(
            status != 0
            for status in searchers.map(_searched, *zip(*promising.items(), strict=True))
        )


def _searched(name: str, first: Sequence[int]) -> int:
    words = [*SEARCH, name, "--first", *map(str, first)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    _say(f"{name}: {(ended.stdout or ended.stderr).strip()}")
    return ended.returncode


def _show(seed: int) -> int:
    told = play(seed)
    _say("\n".join((*told.log, told.wrong or "every invariant holds")))
    return int(bool(told.wrong))


def _soak(first: int) -> int:
    failed, sights = 0, Sights()
    try:
        for begin in count(first, SHOWN_EVERY):
            wrong, seen = _play(range(begin, begin + SHOWN_EVERY))
            failed, sights = failed + wrong, sum(seen.values(), sights)
            _say(f"{begin + SHOWN_EVERY - first} seeds, {failed} failed")
    except KeyboardInterrupt:
        _say(f"{saw.table(sights)}\ntold to stop; {failed} failed")
    return int(failed > 0)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
