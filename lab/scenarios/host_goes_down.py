"""A power cut and a reboot: guests end clean in the reboot; after both, up is what was meant to be.

What is held, or was stopped by hand, stays down and says why; a guest that no file defines is shut
down cleanly, too. The unit is active afterwards, and nothing of a domain is in its control group.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lab.steps import UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Answer, Dom0

SUBJECT = (
    "src/lamplighter/engine/intent.py",
    "src/lamplighter/host/files/writing.py",
    "src/lamplighter/host/systemd/units.py",
    "src/lamplighter/engine/prepare.py",
    "src/lamplighter/host/journal/intents.py",
    "src/lamplighter/units/lamplighter-domains.service",
    "src/lamplighter/host/systemd/scopes.py",
)
SHARE = 2
SECONDS = 390
DEADLINE = 1100.0
USUALLY = {"trixie"}
REASON = "its disk makes noises"
SHUT_DOWN = "shutting down (poweroff"
UP = "lamplighter-guest: up"

#: "always" by its definition, "always" by our file, and two that come back as they were.
CONFIGURATION = """\
[defaults]
start = "last-state"
[domain.db]
start = "always"
"""
#: Ten minutes in which dom0 writes nothing back that was not flushed: a power cut takes all of it.
LOSES_MOST = """\
sysctl -q vm.dirty_expire_centisecs=60000 vm.dirty_writeback_centisecs=60000
mount -o remount,commit=600,noauto_da_alloc /
"""


def run(host: Dom0) -> None:
    host.run(LOSES_MOST)
    host.define("web", "prompt", on_xend_start="start")
    host.define("db", "slow", seconds=8)
    host.define_all(dict.fromkeys(("mail", "files", "aside"), "prompt"))
    host.define("off", "prompt", on_xend_start="ignore")
    host.define("guest", "prompt", folder="/root")
    host.configure(CONFIGURATION)
    host.run("sync")  # files that an administrator has had for long
    answer = host.lamplighter("up", "web", "db", "mail", "files", "aside", timeout=200)
    assert set(answer.outcomes.values()) == {"started"}, str(answer)
    host.wait_console("aside", UP)
    answer = host.lamplighter("hold", "aside", "--now", "--reason", REASON, timeout=200)
    assert answer.status == 0, str(answer)

    host.cut_power()
    _after_the_power_cut(host)

    host.wait_console("mail", UP)
    answer = host.lamplighter("down", "mail", timeout=200)
    assert answer.outcomes == {"mail": "clean"}, str(answer)
    host.create("guest", folder="/root")
    host.wait_up("guest")
    before = {name: host.console(name).count(SHUT_DOWN) for name in ("web", "db", "files")}
    first = host.boot_id()

    host.reboot()
    _after_the_reboot(host, first, before)

    refused = host.lamplighter("up", "aside")
    assert refused.status == 1, str(refused)
    assert "release" in refused.domains["aside"]["note"], str(refused)
    assert host.lamplighter("release", "aside").status == 0
    assert host.lamplighter("up", "aside").outcomes == {"aside": "started"}


def _after_the_power_cut(host: Dom0) -> None:
    expected = {"web", "db", "mail", "files"}
    assert set(host.domids()) == expected, f"running: {host.domids()}"
    _aside_is_held(host.lamplighter("status"))
    boot, *_, cut = runs_of(host)
    assert boot["boot_id"] != cut["boot_id"], (boot, cut)
    assert outcomes(boot) == {**dict.fromkeys(expected, "started"), "aside": "held"}, boot


def _after_the_reboot(host: Dom0, first: str, before: dict[str, int]) -> None:
    up = ("web", "db", "files")
    assert set(host.domids()) == set(up), f"running: {host.domids()}"
    back, stop = runs_of(host)[:2]
    assert [back["direction"], stop["direction"]] == ["up", "down"], (back, stop)
    assert [back["boot_id"], stop["boot_id"]] == [host.boot_id(), first], (back, stop)
    assert outcomes(stop) == dict.fromkeys((*up, "guest"), "clean"), stop
    assert outcomes(back) == {**dict.fromkeys(up, "started"), "aside": "held"}, back
    assert stop["ended"] is not None, "the stop was cut short"
    for name, count in before.items():
        assert host.console(name).count(SHUT_DOWN) == count + 1, host.console(name)
        host.wait_for(f"{name} to be back", partial(_is_back, host, name))
    assert SHUT_DOWN in host.console("guest"), host.console("guest")
    assert "stopping, 8 of 8" in host.console("db"), host.console("db")
    status = host.lamplighter("status")
    _aside_is_held(status)
    _booted_in_order(host, status, up)


def _booted_in_order(host: Dom0, status: Answer, up: tuple[str, ...]) -> None:
    """The unit is active, and nothing of a domain is the unit's: xl's process has its own scope."""
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("active", "success"), unit
    assert status.status == 0, str(status)
    for name in up:
        entry = status.domains[name]
        assert (entry["wanted"], entry["seen"]) == ("up", "running"), str(status)
    assert status.domains["off"]["seen"] == "absent", str(status)
    assert status.domains["mail"]["wanted"] == "down", str(status)
    assert status.document["monitor"] is not None, str(status)
    for number in host.run("pgrep -x xl").stdout.split():
        group = host.read(f"/proc/{number}/cgroup")
        assert ".scope" in group, f"xl is in {group}"
        assert UNIT not in group, f"xl is in {group}"


def _aside_is_held(status: Answer) -> None:
    entry = status.domains["aside"]
    assert entry["seen"] == "absent", entry
    assert REASON in entry["why"], entry


def _is_back(host: Dom0, name: str) -> bool:
    """Whether it came up after its last shutdown."""
    _, _, after = host.console(name).rpartition(SHUT_DOWN)
    return UP in after
