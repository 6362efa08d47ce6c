"""A stop of the host in the middle of a start of thirty guests ends with all of them down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/engine/start.py",
    "src/lamplighter/host/lock.py",
    "src/lamplighter/service/run/takeover.py",
    "src/lamplighter/units/lamplighter-domains.service",
    "src/lamplighter/host/systemd/scopes.py",
)
SHARE = 2
SECONDS = 95
DEADLINE = 700.0
USUALLY = {"trixie"}
NAMES = [f"web-{number}" for number in range(30)]
WANTED, UNWANTED = (f'[defaults]\nstart = "{start}"\n' for start in ("always", "never"))


def run(host: Dom0) -> None:
    host.define_all(dict.fromkeys(NAMES, "prompt"))

    # The start is the unit's own: systemd ends it, and ExecStopPost= is the stop.
    host.configure(WANTED)
    host.run(f"systemctl start --no-block {UNIT}")
    _stop_in_the_middle(host)

    # The start is somebody's, and the unit is active: ExecStop= takes the host from it.
    host.configure(UNWANTED)
    host.run(f"systemctl start {UNIT}", timeout=60)
    host.configure(WANTED)
    host.run("systemd-run --quiet --unit=by-hand lamplighter up")
    _stop_in_the_middle(host)
    log = host.run(f"journalctl --no-pager -o cat -u {UNIT}").stdout
    assert "the host stops: up (pid " in log, log


def _stop_in_the_middle(host: Dom0) -> None:
    host.wait_until("the first guests", "[ $(xl list | wc -l) -ge 5 ]", seconds=150)
    host.run(f"systemctl stop {UNIT}", timeout=300)

    listed = host.run("xl list").stdout.splitlines()
    assert len(listed) == 2, f"more than the heading and dom0: {listed}"
    down, up = runs_of(host)[:2]
    assert (down["direction"], up["direction"]) == ("down", "up"), (down, up)
    started = {name for name, outcome in outcomes(up).items() if outcome == "started"}
    assert started, up
    assert len(started) < len(NAMES), f"it was not in the middle: {up}"
    stopped = outcomes(down)
    assert set(stopped) >= started, f"{started} were started, {stopped} stopped"
    assert set(stopped.values()) == {"clean"}, down
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("inactive", "success"), unit
    host.wait_for(
        "every xl process to end",
        lambda: host.run("pgrep -x xl", check=False).status == 1,
        seconds=30,
    )
