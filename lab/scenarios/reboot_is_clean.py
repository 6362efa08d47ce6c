"""The host reboots: all guests end clean, those to start are back by the unit, and it is told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lab.steps import UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

ANY_XENSTORE = True
DEADLINE = 700.0
GUESTS = ("web", "db", "mail")
SHUT_DOWN = "shutdown script ran (poweroff"


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("db", "slow", seconds=8, on_xend_start="start")
    host.define("mail", "prompt")
    host.define("silent", "prompt")
    host.define("off", "prompt", on_xend_start="ignore")
    host.configure('[domain.mail]\nstart = "always"\n')
    host.define("guest", "prompt", folder="/root")
    host.run(f"systemctl start {UNIT}", timeout=120)
    host.create("guest", folder="/root")
    host.wait_up("guest")
    first = host.boot_id()

    host.reboot()

    assert host.boot_id() != first
    assert set(host.domids()) == set(GUESTS), f"running: {host.domids()}"
    for name in GUESTS:
        host.wait_for(f"{name} to be back", partial(_is_back, host, name))
        assert host.console(name).count(SHUT_DOWN) == 1, host.console(name)
    assert SHUT_DOWN in host.console("guest"), host.console("guest")
    assert "stopping, 8 of 8" in host.console("db"), host.console("db")

    back, stop, start = runs_of(host)
    assert [back["direction"], stop["direction"], start["direction"]] == ["up", "down", "up"]
    assert [back["boot_id"], stop["boot_id"]] == [host.boot_id(), first], (back, stop)
    assert outcomes(stop) == dict.fromkeys((*GUESTS, "guest"), "clean"), stop
    assert outcomes(back) == dict.fromkeys(GUESTS, "started"), back
    assert stop["ended"] is not None, "the stop was cut short"
    _booted_in_order(host)


def _booted_in_order(host: Dom0) -> None:
    """The unit is active, and nothing of a domain is the unit's: xl's process has its own scope."""
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("active", "success"), unit
    status = host.lamplighter("status")
    assert status.status == 0, str(status)
    for name in GUESTS:
        entry = status.domains[name]
        assert (entry["wanted"], entry["seen"]) == ("up", "running"), str(status)
    for name in ("off", "silent"):
        assert status.domains[name]["seen"] == "absent", str(status)
    for number in host.run("pgrep -x xl").stdout.split():
        group = host.read(f"/proc/{number}/cgroup")
        assert ".scope" in group, f"xl is in {group}"
        assert UNIT not in group, f"xl is in {group}"


def _is_back(host: Dom0, name: str) -> bool:
    """Whether its own shutdown script ran and its user space came up afterwards."""
    _, _, after = host.console(name).partition(SHUT_DOWN)
    return "lamplighter-guest: up" in after
