"""The lab's own guests behave as their tempers say, under xl alone.

Every other scenario rests on this one. The domains are asked with ``xl shutdown``, which only
writes to XenStore and returns when the guest has acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.guests import TEMPERS

if TYPE_CHECKING:
    from lab.dom0 import Dom0

VARIANTS = {"bookworm"}
PRODUCT = False
DEADLINE = 300.0


def run(host: Dom0) -> None:
    for temper in TEMPERS:
        seconds = {"slow": 20, "quits": 600}.get(temper)
        host.define(temper, temper, seconds=seconds)
        host.create(temper)
    host.define("short", "quits", seconds=1)
    before = host.domids()
    assert set(before) == set(TEMPERS), f"not all guests are listed: {before}"
    host.wait_up(*(name for name in TEMPERS if name != "deaf"), seconds=120)

    host.create("short")
    host.wait_console("short", "powers off by itself")
    for temper in TEMPERS:
        host.run(f"xenstore-write /local/domain/{before[temper]}/control/shutdown poweroff")

    host.wait_for("the prompt ones to end", lambda: _are(host, "prompt", "crashes", "short"))
    assert "slow" in host.domids(), "the slow guest ended at once"
    host.wait_for("the slow one to end", lambda: _are(host, "prompt", "slow", "quits"))
    host.wait_console("slow", "stopping, 20 of 20")

    after = host.wait_for("the reboot to be over", lambda: _rebooted(host, before["reboots"]))
    assert set(after) == {"hangs", "deaf", "reboots"}, f"left over: {after}"
    _said(host, "prompt", "shutdown script ran (poweroff, temper prompt)")
    _said(host, "hangs", "stays")
    _said(host, "crashes", "Kernel panic")

    assert host.xenstore(f"/local/domain/{after['hangs']}/control/shutdown") == ""
    assert host.xenstore(f"/local/domain/{after['deaf']}/control/shutdown") == "poweroff"
    host.wait_up("reboots")
    host.run(f"xl shutdown {after['reboots']}")
    host.wait_for("the second request to be obeyed", lambda: _are(host, "reboots"))


def _are(host: Dom0, *names: str) -> bool:
    """Whether none of these is listed any more."""
    return not set(names) & set(host.domids())


def _rebooted(host: Dom0, before: int) -> dict[str, int] | None:
    now = host.domids()
    return now if now.get("reboots", before) != before and "garbles" not in now else None


def _said(host: Dom0, name: str, text: str) -> None:
    told = host.console(name)
    assert text in told, f"{name} did not say {text!r} but:\n{told}"
