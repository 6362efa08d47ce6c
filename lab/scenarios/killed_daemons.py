"""Daemons, the monitor among them, are killed for a minute, again and again: no domain notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import MONITOR, UNIT

if TYPE_CHECKING:
    from lab.dom0 import Dom0

NAMES = ("a", "b", "c", "d", "e", "f")

#: Kills all of them, has them begun again where systemd does not do that by itself, and writes down
#: how often each was there to be killed, and every set of names and domids that was seen.
STORM = f"""
end=$((SECONDS + 60))
while [ $SECONDS -lt $end ]; do
    for name in xenconsoled libvirtd; do
        pkill -KILL -x $name && echo "killed $name"
    done
    systemctl kill -s KILL {MONITOR} 2>/dev/null && echo "killed monitor"
    sleep 1
    systemctl reset-failed libvirtd xenconsoled 2>/dev/null
    systemctl start libvirtd {MONITOR}
    pgrep -x xenconsoled >/dev/null || systemctl restart xenconsoled || xenconsoled
    xl list | awk 'NR > 2 {{ print $1 "=" $2 }}' | sort | tr '\\n' ' '
    echo
done
"""


def run(host: Dom0) -> None:
    for name in NAMES:
        host.define(name, "prompt", on_xend_start="start")
    host.run(f"systemctl start {MONITOR} {UNIT}", timeout=200)
    host.run("systemctl start libvirtd", timeout=60)
    before = host.domids()
    assert set(before) == set(NAMES), before

    told = host.run("bash", give=STORM, timeout=150)

    lines = told.stdout.splitlines()
    for name in ("xenconsoled", "libvirtd", "monitor"):
        assert lines.count(f"killed {name}") >= 5, told.stdout
    seen = {line.strip() for line in lines if "=" in line}
    assert seen == {" ".join(f"{name}={before[name]}" for name in sorted(before))}, seen
    assert host.domids() == before
    assert host.unit(UNIT)["ActiveState"] == "active", host.unit(UNIT)
    status = host.lamplighter("status")
    assert status.document["monitor"] is not None, str(status)
