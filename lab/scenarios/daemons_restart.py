"""Restarting or killing any daemon beside XenStore's changes no domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.dom0 import Dom0

#: Every unit that Xen and libvirt bring and that can be stopped; what a host has not is left out.
#: Stopping XenStore itself cannot be done: nothing could take over what it holds.
RESTARTED = ("xenconsoled.service", "libvirtd.service")
STOPPED = (
    *("xen.service", "xen-init-dom0.service", "xen-qemu-dom0-disk-backend.service"),
    *("xendriverdomain.service", "xenconsoled.service"),
    *("libvirtd.service", "libvirtd.socket", "virtlogd.service", "virtxend.service"),
)


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("db", "prompt", on_xend_start="start")
    host.run(f"systemctl start {UNIT}", timeout=120)
    before = host.domids()
    assert set(before) == {"web", "db"}

    # However the host starts xenconsoled: it dies, and another one takes its place.
    host.run("pkill -KILL -x xenconsoled; sleep 1; pgrep -x xenconsoled || xenconsoled")
    assert host.domids() == before
    present = _present(host, (*RESTARTED, *STOPPED))
    assert "libvirtd.service" in present, f"of all units only {present}"
    for verbs, units in ((("restart",), RESTARTED), (("stop", "start"), STOPPED)):
        for unit in (unit for unit in units if unit in present):
            for verb in verbs:
                host.run(f"systemctl {verb} {unit}", timeout=120, check=False)
            now = host.domids()
            assert now == before, f"systemctl {verbs} {unit}: {before} became {now}"
    assert host.unit(UNIT)["ActiveState"] == "active", "a restart reached our own unit"

    # And they can still be shut down by us, cleanly.
    answer = host.lamplighter("down")
    assert answer.status == 0, str(answer)
    assert answer.outcomes == {"web": "clean", "db": "clean"}, str(answer)


def _present(host: Dom0, units: Sequence[str]) -> set[str]:
    """Return those of the units that this host has."""
    told = host.run(f"systemctl show -p Id -p LoadState {' '.join(units)}").stdout
    pairs = (paragraph.splitlines() for paragraph in told.split("\n\n"))
    loaded = [pair for pair in pairs if "LoadState=loaded" in pair]
    return {line.removeprefix("Id=") for pair in loaded for line in pair} & set(units)
