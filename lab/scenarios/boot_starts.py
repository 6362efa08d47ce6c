"""The host boots: guests that are to start come up through the unit, others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

DEADLINE = 700.0


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("db", "prompt", on_xend_start="start")
    host.define("late", "prompt")
    host.define("silent", "prompt")
    host.define("off", "prompt", on_xend_start="ignore")
    host.configure('[domain.late]\nstart = "always"\n')

    host.reboot()

    assert set(host.domids()) == {"web", "db", "late"}, f"running: {host.domids()}"
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("active", "success"), unit
    status = host.lamplighter("status")
    assert status.status == 0, str(status)
    for name in ("web", "db", "late"):
        entry = status.domains[name]
        assert (entry["wanted"], entry["seen"]) == ("up", "running"), str(status)
    assert status.domains["off"]["seen"] == "absent", str(status)

    [boot] = runs_of(host)
    assert boot["direction"] == "up", boot
    assert boot["boot_id"] == host.boot_id(), boot
    ends = {entry["name"]: entry["outcome"] for entry in boot["domains"]}
    assert {name for name, end in ends.items() if end == "started"} == {"web", "db", "late"}, ends
    _nothing_of_a_domain_is_the_service_s(host)


def _nothing_of_a_domain_is_the_service_s(host: Dom0) -> None:
    """The process that xl leaves behind for each domain is in a scope of its own."""
    for number in host.run("pgrep -x xl").stdout.split():
        group = host.read(f"/proc/{number}/cgroup")
        assert ".scope" in group, f"xl is in {group}"
        assert UNIT not in group, f"xl is in {group}"
