"""Run every benchmark and print one line for each ratio.

A module here has ``measure()``, an iterator over ``Ratio``s, which may raise ``Skipped``.
"""

from __future__ import annotations

from importlib import import_module

from bench.ratio import Skipped

MODULES = (
    *("bench.xenstore", "bench.stop", "bench.flood", "bench.monitor", "bench.agent"),
    "bench.coldstart",
)


def main() -> None:
    """Measure everything."""
    for name in MODULES:
        try:
            for ratio in import_module(name).measure():
                print(ratio, flush=True)
        except Skipped as why:
            print(f"{name.removeprefix('bench.'):<34} skipped: {why}", flush=True)


main()
