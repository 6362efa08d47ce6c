"""A guest that never acknowledges and one that hangs are forced, each at its own time-out.

One that is slow but goes on is not cut off, although systemd would allow the whole stop far less;
the others are not delayed. The stop's exit status is 1 and the unit says which were forced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT, ends, runs_of, transitions

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/engine/stop/machine.py",
    "src/lamplighter/engine/timing.py",
    "src/lamplighter/host/systemd/notify.py",
    "src/lamplighter/service/unit/systemd_status.py",
)
SHARE = 0
SECONDS = 90
USUALLY = {"trixie"}
#: Each one's own stop_timeout.
HANGS, DEAF = 20, 12
#: What systemd allows a stop, and what the slow guest takes: 90 s would be its own default. Our own
#: start takes five to ten seconds on emulated processors before it can ask for more.
ALLOWED, TAKES = 30, 40
CONFIGURATION = f"""
[domain.hangs]
stop_timeout = "{HANGS}s"
[domain.deaf]
start_timeout = "3s"
stop_timeout = "{DEAF}s"
ack_timeout = "4s"
"""


def run(host: Dom0) -> None:
    host.put(
        f"/etc/systemd/system/{UNIT}.d/short.conf",
        f"[Service]\nTimeoutStopSec={ALLOWED}s\n",
    )
    host.run("systemctl daemon-reload")
    for name, behaviour in (("a", "prompt"), ("hangs", "hangs"), ("deaf", "deaf"), ("z", "prompt")):
        host.define(name, behaviour, on_xend_start="start")
    host.define("db", "slow", seconds=TAKES, on_xend_start="start")
    host.configure(CONFIGURATION)
    host.run(f"systemctl start {UNIT}", timeout=150)

    host.run(f"systemctl stop {UNIT}", timeout=150, check=False)

    assert host.domids() == {}
    stop = runs_of(host)[0]
    assert (stop["direction"], stop["exit"]) == ("down", 1), stop
    found = ends(stop)
    assert {name: end["outcome"] for name, end in found.items()} == {
        "a": "clean",
        "db": "clean",
        "hangs": "forced",
        "deaf": "forced",
        "z": "clean",
    }, stop
    for name, patience in (("hangs", HANGS), ("deaf", DEAF)):
        assert patience <= found[name]["seconds"], stop
        assert transitions(host, name)["forcing"]["detail"] == f"not down after {patience} s", stop
    took = {name: end["seconds"] for name, end in found.items()}
    assert max(took["a"], took["z"]) < took["deaf"] < took["hangs"] < took["db"], stop
    assert found["db"]["seconds"] >= TAKES, stop
    assert f"stopping, {TAKES} of {TAKES}" in host.console("db"), host.console("db")

    unit = host.unit(UNIT)
    assert unit["Result"] == "exit-code", unit
    shown = host.run(f"systemctl status --no-pager -l -n 40 {UNIT}", check=False).stdout
    for name in ("hangs", "deaf"):
        assert any(name in line and "forced" in line for line in shown.splitlines()), shown
