"""Run benchmarks, print a line for each row, and report which rows fell back.

A module here has ``measure()``, an iterator over ``Ratio``s, which may raise ``Skipped``.

What was measured is written as JSON to ``build/bench.json`` and compared with
``bench/results.json``, the last run that was kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Skipped
from bench.results import Results, fallen_back, format_results, parse_results, to_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.ratio import Ratio

NAMES = ("xenstore", "stop", "growth", "flood", "monitor", "agent", "coldstart")

HERE = Path(__file__).parent
KEPT = HERE / "results.json"
LAST = HERE.parent / "build" / "bench.json"


def main() -> int:
    """Measure, write, compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"only of {', '.join(NAMES)}")
    parser.add_argument("--keep", action="store_true", help=f"keep it as {KEPT.name}")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit status 1 when a row misses its aim, fell back or was not measured",
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"there is no benchmark {min(unknown)!r}")
    if given.keep and given.names:
        parser.error("only a run of all benchmarks can be kept")
    kept = last_kept(replaced=given.keep)
    ratios, skipped = measured(given.names or NAMES)
    now = to_results(ratios, commit(), f"{datetime.now(UTC):%Y-%m-%d}", reference())
    LAST.parent.mkdir(exist_ok=True)
    LAST.write_text(format_results(now))
    if given.keep and skipped:
        sys.exit("not kept: a benchmark was skipped")
    if given.keep:
        KEPT.write_text(format_results(now))
    worse = compared(kept, now, everything=not given.names) if kept is not None else []
    short = not all(ratio.reached for ratio in ratios)
    return int(given.check and bool(short or worse or skipped))


def measured(names: Sequence[str]) -> tuple[list[Ratio], bool]:
    """Measure and print; return the rows, and whether a benchmark was skipped."""
    ratios: list[Ratio] = []
    skipped = False
    for name in names:
        try:
            for ratio in import_module(f"bench.{name}").measure():
                print(ratio, flush=True)
                ratios.append(ratio)
        except Skipped as why:
            skipped = True
            print(f"{name:<34} skipped: {why}", flush=True)
    return ratios, skipped


def last_kept(*, replaced: bool) -> Results | None:
    """Return the run that was kept; None: there is none, or it cannot be read and is replaced."""
    try:
        return parse_results(KEPT.read_text())
    except FileNotFoundError:
        print(f"nothing to compare with: there is no {KEPT.name}; python -m bench --keep makes one")
        return None
    except ValueError as error:
        if replaced:
            return None
        sys.exit(f"{KEPT}: {error}; python -m bench --keep replaces it")


def compared(kept: Results, now: Results, *, everything: bool) -> list[str]:
    """Print what is worse than in the run that was kept; return it, too."""
    if not everything:
        kept = kept._replace(rows={n: row for n, row in kept.rows.items() if n in now.rows})
    worse = fallen_back(kept, now)
    for row in worse:
        print(f"FELL BACK since {kept.commit} ({kept.date}): {row}")
    if not worse:
        print(f"no row fell back since {kept.commit} ({kept.date})")
    return worse


def commit() -> str:
    """Return the commit that is checked out, with ``-dirty`` when files differ from it."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def reference() -> float:
    """Return the processor seconds of a fixed piece of Python: the least of several rounds."""

    def once() -> float:
        began = time.process_time()
        names = [f"domain-{number % 1000}" for number in range(200_000)]
        {name: len(name) for name in sorted(names)}
        return time.process_time() - began

    return min(once() for _ in range(7))


if __name__ == "__main__":
    sys.exit(main())
