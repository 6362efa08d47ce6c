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
    "src/lamplighter/service/run/worker.py",
    "src/lamplighter/service/run/runner.py",
    "src/lamplighter/engine/stop/machine.py",
    "src/lamplighter/host/systemd/scopes.py",
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
#: They stand before the programs of these names in the path of whoever starts one.
COUNTS = {
    "xl": f'#!/bin/sh\necho "$1" >>{CALLS}\nexec /usr/sbin/xl "$@"\n',
    "systemd-run": f'#!/bin/sh\necho systemd-run >>{CALLS}\nexec /usr/bin/systemd-run "$@"\n',
}


def run(host: Dom0) -> None:
    host.define_all({f"g{number:02}": "prompt" for number in range(MANY)} | {"deaf": "deaf"})
    host.configure(CONFIGURATION)
    for program, script in COUNTS.items():
        host.put(f"/usr/local/sbin/{program}", script)
        host.run(f"chmod 755 /usr/local/sbin/{program}")

    up, calls, _ = _timed(host, "up")
    assert up["exit"] == 0, up
    assert Counter(end["outcome"] for end in up["domains"]) == {"started": MANY + 1}, up
    assert calls["create"] == MANY + 1, calls

    down, calls, wall = _timed(host, "down")
    assert down["exit"] == 1, down
    found = ends(down)
    deaf = found.pop("deaf")
    assert {end["outcome"] for end in found.values()} == {"clean"}, down
    assert deaf["outcome"] == "forced", down
    assert deaf["seconds"] >= PATIENCE, down
    moved = transitions(host, "deaf")
    after = seconds_between(moved["asked"], moved["forcing"])
    assert after <= PATIENCE + LATER * wall, (after, down)
    assert calls["destroy"] == 1, calls
    assert host.domids() == {}


def _timed(host: Dom0, command: str) -> tuple[dict[str, Any], Counter[str], float]:
    """Carry out a command; return its document, its calls of xl and the seconds it took."""
    host.run(f"rm -f {CALLS}")
    line = f"lamplighter --json {command} >/run/answer 2>/run/errors"
    timed = f"bash -c 'TIMEFORMAT=\"%R %U %S\"; time {line}' 2>&1"
    found = host.run(timed, timeout=400, check=False).stdout.split()[-3:]
    wall, user, system = map(float, found)
    calls = Counter(host.read(CALLS).split())
    document: dict[str, Any] = json.loads(host.read("/run/answer"))
    each = ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
    print(
        f"  {host.variant.name}: {command}: {wall:.1f} s, {user + system:.1f} s of processor with"
        f" what it started; {each}; {calls.total() / (MANY + 1):.2f} programs a domain",
        flush=True,
    )
    assert calls["list"] <= MANY // 2, "they follow from the time that passes, not from events"
    assert set(calls) <= {"create", "list", "destroy"}, calls
    return document, calls, wall
