"""The command: ``python -m lab.peers``: the same guests, by each of the rivals, as ratios.

The rivals take turns on one booted host, and the medians of the rounds are compared. A start is
timed until all kernels are up, a stop until all guests are gone, or, with a rival that leaves some
running, until it ends. The table says what each took; ``build/lab-bench.json`` keeps all rounds.
Beside `xl`, which is the limit, what Python itself takes to start is left out of ours.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lab.bench import Bench
from lab.booted import build_booted
from lab.cache import Cache
from lab.failure import LabError
from lab.image import build_image
from lab.needs import install_needs
from lab.peers import timed
from lab.peers.rivals import LAMPLIGHTER, RIVALS, Rival
from lab.product import build_product
from lab.variants import VARIANTS
from lab.wheels import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.dom0 import Dom0

TOOL, OUTPUT = "/root/timed.py", "/run/output"
KEPT = ROOT / "build" / "lab-bench.json"
HOURS = 4


@dataclass(frozen=True)
class Herd:
    """Guests that are started and stopped together. ``deaf`` ones never come up and never go.

    ``aims``: of another rival's time, by its name: how much a start and a stop may take.
    """

    name: str
    prompt: str
    count: int
    deaf: int
    aims: dict[str, tuple[float | None, float]]

    @property
    def behaviours(self) -> dict[str, str]:
        """The behaviour of each guest, by its name."""
        whole = {f"g{number:02}": self.prompt for number in range(1, self.count + 1)}
        return whole | {f"h{number:02}": "deaf" for number in range(1, self.deaf + 1)}


HERDS = (
    Herd(
        "small",
        "prompt",
        40,
        0,
        {"xl": (1.2, 1.5), "xendomains": (0.8, 0.35), "libvirt-guests": (None, 0.35)},
    ),
    Herd(
        "linux", "linux-prompt", 11, 1, {"xendomains": (0.8, 0.35), "libvirt-guests": (None, 0.35)}
    ),
)

#: The rival that none can be faster than.
LIMIT = "xl"

Times = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.peers", description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default="trixie")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--herd", choices=[herd.name for herd in HERDS])
    parser.add_argument("--rival", choices=RIVALS, help="beside lamplighter, only this one")
    parser.add_argument("--guests", type=int, help="so many instead of the herd's own number")
    options = parser.parse_args(argv)
    try:
        install_needs()
        variant, store = VARIANTS[options.variant], Cache.usual()
        image = build_image(variant.suite, store)
        with closing(Bench(variant, image, build_booted(variant, image, store))) as bench:
            bench.prepare(build_product(variant.suite, store))
            host = bench.host(HOURS * 3600)
            host.copy([Path(timed.__file__)], str(Path(TOOL).parent))
            interpreter = _own_start(host)
            for herd in HERDS:
                if options.herd in (None, herd.name):
                    measure(host, herd, options.rounds, options.rival, options.guests, interpreter)
    except (LabError, AssertionError) as error:
        print(f"the lab: {error}", file=sys.stderr)
        return 1
    return 0


def measure(
    host: Dom0, herd: Herd, rounds: int, only: str | None, guests: int | None, interpreter: float
) -> None:
    """Let the rivals take turns with a herd, and print the times."""
    if guests is not None:
        herd = Herd(f"{herd.name}-{guests}", herd.prompt, guests, herd.deaf, herd.aims)
    rivals = [
        rival
        for name, rival in RIVALS.items()
        if rival is LAMPLIGHTER or (name in herd.aims and only in (None, name))
    ]
    host.run("rm -f /etc/xen/*.cfg /etc/xen/auto/*")
    host.define_all(herd.behaviours)
    taken: dict[str, list[dict[str, Times]]] = {rival.name: [] for rival in rivals}
    for number in range(1, rounds + 1):
        for rival in rivals:
            times = _turn(host, herd, rival)
            taken[rival.name].append(times)
            line = ", ".join(
                f"{what} {time['reached']:.1f} s (returned {time['returned']:.1f} s, "
                f"processor {time['processor']:.1f} s, exit {time['status']:.0f}, "
                f"{time['left']:.0f} left)"
                for what, time in times.items()
            )
            print(f"  {herd.name}, round {number}, {rival.name}: {line}", flush=True)
            _keep(herd, rival, taken[rival.name])
    print(table(herd, taken, interpreter), flush=True)


def _keep(herd: Herd, rival: Rival, taken: list[dict[str, Times]]) -> None:
    """Write what a rival's rounds took; what others took, in this run or before, stays."""
    KEPT.parent.mkdir(exist_ok=True)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept.setdefault(herd.name, {})[rival.name] = taken
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def table(herd: Herd, taken: dict[str, list[dict[str, Times]]], interpreter: float) -> str:
    """Return the medians as lines, and ours as a part of each other's.

    ``interpreter``: the seconds that Python takes to start, which do not count beside the limit.
    """

    def middle(name: str, what: str) -> float:
        return median(times[what]["reached"] for times in taken[name])

    count = herd.count + herd.deaf
    lines = [f"{herd.name}: {count} guests, {herd.deaf} of them deaf, medians of seconds"]
    for name in taken:
        line = f"  {name:<16} start {middle(name, 'start'):7.1f}  stop {middle(name, 'stop'):7.1f}"
        for what, aim in zip(("start", "stop"), herd.aims.get(name, ()), strict=False):
            apart = interpreter if name == LIMIT else 0.0
            ratio = (middle(LAMPLIGHTER.name, what) - apart) / middle(name, what)
            aimed = f" (aim {aim:.2f}{'' if ratio <= aim else ', MISSED'})" if aim else ""
            line += f"  {what} of ours {ratio:.2f}{aimed}"
        lines.append(line)
    return "\n".join(lines)


def _turn(host: Dom0, herd: Herd, rival: Rival) -> dict[str, Times]:
    """One start and one stop by one rival, and nothing left behind by it."""
    rival.prepare(host, list(herd.behaviours))
    start = _timed(host, "up", herd.count, rival.start)
    stop = _timed(host, "gone", herd.count, rival.stop)
    host.run(
        "xl list | awk 'NR > 2 { print $2 }' | xargs -r -n 1 xl destroy;"
        " until [ $(xl list | wc -l) = 2 ]; do sleep 0.5; done;"
        " systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket",
        timeout=200,
    )
    return {"start": start, "stop": stop}


def _timed(host: Dom0, until: str, count: int, command: str) -> Times:
    command = shlex.quote(f"{{ {command}; }} >{OUTPUT} 2>&1")
    line = f"python3 {TOOL} {until} {count} {command} || {{ tail -n 20 {OUTPUT}; exit 1; }}"
    times: Times = json.loads(host.run(line, timeout=1600).stdout)
    return times


def _own_start(host: Dom0) -> float:
    """Print how long programs take that do nothing, ours and others; return Python's seconds."""
    python = "python3 -c pass"
    line = "bash -c 'TIMEFORMAT=%R; time {} >/dev/null' 2>&1"
    took = {
        command: median(float(host.run(line.format(command)).stdout) for _ in range(5))
        for command in (python, "lamplighter --version", "xl list")
    }
    times = ", ".join(f"{command} {seconds:.2f} s" for command, seconds in took.items())
    print(f"alone: {times}", flush=True)
    return took[python]


if __name__ == "__main__":
    sys.exit(main())
