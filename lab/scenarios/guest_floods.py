"""A guest that floods its nodes as fast as it can delays no other by more than a tenth.

Nine guests are stopped beside a quiet tenth, and again while that one floods its own nodes, is
stopped as well, never powers off, and run and monitor listen. Where that took the nine a tenth
longer, they are stopped once more, with nobody listening to the flood: so much of it is what it
takes of XenStore and of two emulated processors, and the rest is what listening costs. How long the
nine take is what `lamplighter` itself reports.

So that all nine do not need what the flood leaves at the same moment, each takes a time of its own
to stop. What listening costs where processors are real is in `make bench`.
"""

from __future__ import annotations

from statistics import mean, median
from typing import TYPE_CHECKING

from lab.steps import MONITOR

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "lab/spark/flood.c",
    "src/lamplighter/host/xenstore/client*.py",
    "src/lamplighter/service/guests/reader.py",
    "src/lamplighter/service/run/mailbox.py",
)
SHARE = 2
SECONDS = 200
DEADLINE = 900.0

NINE = tuple(f"web{number}" for number in range(1, 10))
#: Updates a second. It tries 2,000, of which XenStore takes what it can on two emulated processors:
#: about 120, and less on a slow machine. Where the median is less than this there was no flood.
LEAST = 20
#: How much longer the nine may take, as a part; and how much of that may be the listening's, where
#: a slow emulator lets the flood alone take more.
ALLOWED, LISTENING = 0.10, 0.05
#: How long the first needs to power off, and each after it so much longer; and how long the host
#: waits for the one that never does.
TAKES, LONGER, STUCK = 16, 3, 45
TELLS = " updates/s"
CONFIGURATION = f"""
[defaults]
start = "always"
[domain.rogue]
stop_timeout = "{STUCK}s"
extend_max = "20s"
"""


def run(host: Dom0) -> None:
    host.define("rogue", "floods")
    for number, name in enumerate(NINE):
        host.define(name, "slow", seconds=TAKES + number * LONGER)
    host.configure(CONFIGURATION)
    host.run(f"systemctl start {MONITOR}")

    _up(host)
    quiet = _stopped(host, "quiet", *NINE)

    _up(host)
    _flood(host)
    heard = _stopped(host, "flooded, heard", *NINE, "rogue")
    rates = _rates(host)
    print(f"  updates a second, heard: {rates[0]} to {rates[-1]}, median {median(rates):.0f}")
    print(f"  {heard / quiet - 1:+.1%}")
    assert median(rates) >= LEAST, rates

    limit = quiet * (1 + ALLOWED)
    if heard > limit:
        host.run(f"systemctl stop {MONITOR}")
        _up(host)
        _flood(host)
        unheard = _stopped(host, "flooded, unheard", *NINE)
        limit = max(limit, unheard * (1 + LISTENING))
    assert heard <= limit, (quiet, heard, limit)


def _flood(host: Dom0) -> None:
    before = host.console("rogue").count(TELLS)
    host.run(f"xenstore-write /local/domain/{host.domids()['rogue']}/data/flood 1")
    host.wait_console("rogue", TELLS, lines=before + 1)


def _rates(host: Dom0) -> list[int]:
    """Return how many updates a second XenStore took of the flood, in order."""
    found = host.console("rogue").splitlines()
    return sorted(int(line.split()[-2]) for line in found if line.endswith(TELLS))


def _up(host: Dom0) -> None:
    up = host.lamplighter("up", timeout=200)
    assert up.status == 0, str(up)
    host.wait_up(*NINE, "rogue")


def _stopped(host: Dom0, beside: str, *names: str) -> float:
    """Stop these; return the mean of the nine's seconds."""
    down = host.lamplighter("down", *names, timeout=200)
    found = [down.domains[name] for name in NINE]
    assert {one["outcome"] for one in found} == {"clean"}, str(down)
    if "rogue" in names:
        assert down.domains["rogue"]["outcome"] == "forced", str(down)
    seconds = sorted(one["seconds"] for one in found)
    print(f"  {beside}: {seconds[0]:.1f} to {seconds[-1]:.1f} s, mean {mean(seconds):.2f} s")
    return float(mean(seconds))
