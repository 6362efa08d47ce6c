"""A full disk in the middle of a stop, and a damaged journal: the guests end cleanly all the same.

The held guest stays down through all of it, although its journal was written over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/host/journal/database.py",
    "src/lamplighter/host/journal/intents.py",
    "src/lamplighter/host/journal/writer*.py",
)
SHARE = 0
SECONDS = 120
DEADLINE = 500.0
USUALLY = {"bookworm"}
STATE = "/var/lib/lamplighter"
DATABASE = f"{STATE}/state.db"
#: A log that could not be played into the database, for want of room, would mend it.
GARBAGE = (
    f"rm -f {DATABASE}-*; dd if=/dev/urandom of={DATABASE} bs=4k count=8 conv=notrunc status=none"
)


def run(host: Dom0) -> None:
    host.run(f"mount -t tmpfs -o size=1m,mode=700 tmpfs {STATE}")
    host.define("broken", "prompt", on_xend_start="start")
    host.define("slow", "slow", seconds=12, on_xend_start="start")
    host.define("web", "prompt", on_xend_start="start")
    host.run("lamplighter hold broken --reason 'disk 3 is broken'")
    host.run(f"systemctl start {UNIT}", timeout=120)
    assert set(host.domids()) == {"slow", "web"}, host.domids()
    for name in ("slow", "web"):
        host.wait_console(name, "lamplighter-guest: up")

    _stop_without_room(host)
    _start_and_stop_with_a_damaged_journal(host)


def _stop_without_room(host: Dom0) -> None:
    host.run(f"systemctl stop --no-block {UNIT}")
    host.wait_console("slow", "stopping, 1 of")
    host.run(f"dd if=/dev/zero of={STATE}/filler bs=4k status=none", check=False)
    host.wait_for("the stop to end", lambda: _state(host) in ("inactive", "failed"), seconds=90)

    assert host.domids() == {}
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("inactive", "success"), unit
    log = host.run(f"journalctl --sync; journalctl --no-pager -o cat -u {UNIT}").stdout
    assert "the record of this run, which goes on, is incomplete" in log, log
    assert ": 2 clean." in log, log
    host.run(f"rm {STATE}/filler")


def _start_and_stop_with_a_damaged_journal(host: Dom0) -> None:
    host.run(GARBAGE)
    host.run(f"systemctl start {UNIT}", timeout=120)
    assert set(host.domids()) == {"slow", "web"}, host.domids()
    host.run(GARBAGE)
    host.run(f"systemctl stop {UNIT}", timeout=120)
    assert host.domids() == {}
    (stop,) = runs_of(host)
    assert outcomes(stop) == {"slow": "clean", "web": "clean"}, stop
    kept = host.run(f"ls {STATE}").stdout.split()
    asides = [name for name in kept if ".damaged-" in name and not name.endswith(("-wal", "-shm"))]
    assert len(asides) == 2, kept
    status = host.lamplighter("status")
    assert status.domains["broken"]["wanted"] == "held", str(status)
    assert "disk 3 is broken" in status.domains["broken"]["why"], str(status)


def _state(host: Dom0) -> str:
    return host.unit(UNIT)["ActiveState"]
