"""Daemons are killed for a minute, again and again: no domain notices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab.steps import UNIT

if TYPE_CHECKING:
    from lab.dom0 import Dom0

VARIANTS = {"bookworm", "trixie"}
NAMES = ("a", "b", "c", "d", "e", "f")
SECONDS = 60.0
KILL = "pkill -KILL -x {name}; sleep 1; pgrep -x {name} >/dev/null || {begin}"
#: What ends, and how it is begun again where systemd does not do that by itself.
DAEMONS = {
    "xenconsoled": "systemctl restart xenconsoled || xenconsoled",
    "libvirtd": "systemctl reset-failed libvirtd; systemctl start libvirtd",
}


def run(host: Dom0) -> None:
    for name in NAMES:
        host.define(name, "prompt", on_xend_start="start")
    host.run(f"systemctl start {UNIT}", timeout=200)
    host.run("systemctl start libvirtd", timeout=60)
    before = host.domids()
    assert set(before) == set(NAMES), before

    rounds, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        for name, begin in DAEMONS.items():
            host.run(f"pgrep -x {name}")  # it is there to be killed
            host.run(KILL.format(name=name, begin=begin), timeout=60)
            now = host.domids()
            assert now == before, f"{name} killed, round {rounds}: {before} became {now}"
        rounds += 1
    assert rounds >= 3, f"{rounds} rounds in {SECONDS:g} s"
    assert host.unit(UNIT)["ActiveState"] == "active", host.unit(UNIT)
