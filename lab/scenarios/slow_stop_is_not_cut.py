"""A stop that is slow but goes on is not cut off by systemd's time-out for stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

#: What systemd allows a stop, here far less than the guest takes: 90 s would be its own default.
ALLOWED, TAKES = 15, 45


def run(host: Dom0) -> None:
    host.put(
        f"/etc/systemd/system/{UNIT}.d/short.conf",
        f"[Service]\nTimeoutStopSec={ALLOWED}s\nTimeoutStartSec={ALLOWED}s\n",
    )
    host.run("systemctl daemon-reload")
    host.define("db", "slow", seconds=TAKES, on_xend_start="start")
    host.define("web", "prompt", on_xend_start="start")
    host.run(f"systemctl start {UNIT}", timeout=120)

    ended = host.run(f"systemctl stop {UNIT}", timeout=150)

    assert ended.seconds > TAKES, f"it took {ended.seconds:.0f} s only"
    stop = runs_of(host)[0]
    assert outcomes(stop) == {"db": "clean", "web": "clean"}, stop
    assert f"stopping, {TAKES} of {TAKES}" in host.console("db"), host.console("db")
    assert host.unit(UNIT)["Result"] == "success", host.unit(UNIT)
