"""Sixty guests and a deaf one start and stop: sixty are clean, the deaf one forced at its own time.

However many there are, a start costs one program each and a clean stop none, and the host is listed
now and then, not at each event.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from lab.steps import ends, seconds_between, transitions

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "lab/spark/*",
    "src/lamplighter/toolstacks/xl.py",
    "src/lamplighter/service/observer.py",
    "src/lamplighter/service/worker.py",
    "src/lamplighter/service/runner.py",
    "src/lamplighter/engine/ladder.py",
    "src/lamplighter/host/scopes.py",
)
SHARE = 2
SECONDS = 260
DEADLINE = 700.0
USUALLY = {"trixie", "bookworm"}

MANY = 60
#: How long the deaf one is asked. It may be forced later by this part of what the whole stop takes:
#: it is looked at once more, at a host that has much else to do.
PATIENCE, LATER = 20, 1 / 3
CONFIGURATION = f"""
[defaults]
start = "always"
stop_timeout = "120s"
[domain.deaf]
start_timeout = "3s"
stop_timeout = "{PATIENCE}s"
ack_timeout = "7s"
"""
CALLS = "/run/xl-calls"
#: It stands before xl in the path of whoever starts a program.
COUNTS = f'#!/bin/sh\necho "$1" >>{CALLS}\nexec /usr/sbin/xl "$@"\n'
#: So many listings one run may make beside those that its seconds allow. After each comes a pause
#: of four times its own length, and it takes at least as long as it does while there are no guests.
LISTINGS, PERIOD = 6, 5


def run(host: Dom0) -> None:
    host.define_all({f"g{number:02}": "prompt" for number in range(MANY)} | {"deaf": "deaf"})
    host.configure(CONFIGURATION)
    host.put("/usr/local/sbin/xl", COUNTS)
    host.run("chmod 755 /usr/local/sbin/xl")

    list_alone = _seconds(host, "xl list >/dev/null")[0]
    up, calls, _ = _timed(host, "up", list_alone)
    assert up["exit"] == 0, up
    assert Counter(end["outcome"] for end in up["domains"]) == {"started": MANY + 1}, up
    assert calls["create"] == MANY + 1, calls

    down, calls, wall = _timed(host, "down", list_alone)
    assert down["exit"] == 1, down
    told = ends(down)
    deaf = told.pop("deaf")
    assert {end["outcome"] for end in told.values()} == {"clean"}, down
    assert deaf["outcome"] == "forced", down
    assert deaf["seconds"] >= PATIENCE, down
    moved = transitions(host, "deaf")
    after = seconds_between(moved["asked"], moved["forcing"])
    assert after <= PATIENCE + LATER * wall, (after, down)
    # What was taken apart, and on a busy host not seen gone in time, may be destroyed once more.
    assert 1 <= calls["destroy"] <= 1 + MANY // 20, calls
    assert host.domids() == {}


def _seconds(host: Dom0, line: str) -> tuple[float, float]:
    """Return what a shell line took: seconds by the clock, and of processor."""
    timed = f"bash -c 'TIMEFORMAT=\"%R %U %S\"; time {line}' 2>&1"
    wall, user, system = host.run(timed, timeout=400, check=False).stdout.split()[-3:]
    return float(wall), float(user) + float(system)


def _timed(
    host: Dom0, command: str, list_alone: float
) -> tuple[dict[str, Any], Counter[str], float]:
    """Carry out a command; return its document, its calls of xl and the seconds it took."""
    host.run(f"rm -f {CALLS}")
    wall, processor = _seconds(host, f"lamplighter --json {command} >/run/answer 2>/run/said")
    calls = Counter(host.read(CALLS).split())
    document: dict[str, Any] = json.loads(host.read("/run/answer"))
    each = ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
    print(
        f"  {host.variant.name}: {command}: {wall:.1f} s, {processor:.1f} s of processor with what"
        f" it started; xl: {each}; {calls.total() / (MANY + 1):.2f} a domain",
        flush=True,
    )
    assert calls["list"] <= LISTINGS + wall / (PERIOD * list_alone), (list_alone, calls)
    assert set(calls) <= {"create", "list", "destroy"}, calls
    return document, calls, wall
