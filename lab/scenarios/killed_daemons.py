"""No daemon moves a domain: all are restarted; monitor and others killed for half a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import MONITOR, UNIT

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/host/xenstore/connection.py",
    "src/lamplighter/service/monitor.py",
    "src/lamplighter/units/lamplighter-monitor.service",
)
SHARE = 1
SECONDS = 125
DEADLINE = 600.0
USUALLY = {"bookworm"}
NAMES = ("a", "b", "c", "d", "e", "f")

#: Every unit that Xen and libvirt bring and that can be stopped; what a host has not is left out.
#: Stopping XenStore itself cannot be done: nothing could take over what it holds.
UNITS = (
    *("xen.service", "xen-init-dom0.service", "xen-qemu-dom0-disk-backend.service"),
    *("xendriverdomain.service", "xenconsoled.service"),
    *("libvirtd.socket", "virtlogd.service", "virtxend.service", "libvirtd.service"),
)
PRESENT = f"systemctl show -P Id --no-pager $(systemctl list-units --all --plain --no-legend \
{' '.join(UNITS)} | awk '$2 == \"loaded\" {{ print $1 }}') | grep ."

#: Each daemon is restarted, stopped and started, and the domains are listed after each.
LISTED = """xl list | awk 'NR > 2 { print $1 "=" $2 }' | sort | tr '\\n' ' '; echo"""
RESTARTS = f"""
for unit in $({PRESENT}); do
    for verb in restart stop start; do
        timeout 60 systemctl $verb $unit 2>/dev/null
        {LISTED}
    done
    echo "restarted $unit"
done
"""

STORM_TIME = 400
#: Kills all of them until each was there to be killed three times, and has them begun again where
#: systemd does not do that by itself.
STORM = f"""
declare -A killed
while [ "${{killed[xenconsoled]:-0}}" -lt 3 ] || [ "${{killed[libvirtd]:-0}}" -lt 3 ] ||
    [ "${{killed[monitor]:-0}}" -lt 3 ]; do
    for name in xenconsoled libvirtd; do
        pkill -KILL -x $name && killed[$name]=$((killed[$name] + 1))
    done
    systemctl kill -s KILL {MONITOR} 2>/dev/null && killed[monitor]=$((killed[monitor] + 1))
    sleep 1
    systemctl reset-failed libvirtd xenconsoled 2>/dev/null
    systemctl start --no-block {MONITOR}
    systemctl start libvirtd
    pgrep -x xenconsoled >/dev/null || systemctl restart xenconsoled || xenconsoled
    {LISTED}
done
"""


def run(host: Dom0) -> None:
    host.define_all(dict.fromkeys(NAMES, "prompt"), on_xend_start="start")
    host.run(f"systemctl start {MONITOR} {UNIT}", timeout=200)
    before = host.domids()
    assert set(before) == set(NAMES), before

    listed = host.run("bash", give=RESTARTS, timeout=200).stdout
    _unmoved(host, before, listed)
    assert listed.count("restarted") >= 2, listed
    assert "restarted libvirtd.service" in listed, listed

    host.run("systemctl start libvirtd", timeout=60)
    listed = host.run("bash", give=STORM, timeout=STORM_TIME).stdout
    _unmoved(host, before, listed)

    host.run(f"systemctl restart {MONITOR}")
    status = host.lamplighter("status")
    assert status.document["monitor"] is not None, str(status)
    # And they can still be shut down by us, cleanly.
    for name in NAMES:
        host.wait_console(name, "lamplighter-guest: up")
    answer = host.lamplighter("down")
    assert answer.outcomes == dict.fromkeys(NAMES, "clean"), str(answer)


def _unmoved(host: Dom0, before: dict[str, int], listed: str) -> None:
    seen = {line.strip() for line in listed.splitlines() if "=" in line}
    assert seen == {" ".join(f"{name}={before[name]}" for name in sorted(before))}, listed
    assert host.domids() == before
    assert host.unit(UNIT)["ActiveState"] == "active", "it reached our own unit"
