"""A Linux guest that reboots itself during the stop is followed and ends down."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = ("src/lamplighter/engine/stop/machine.py", "src/lamplighter/service/observer.py")
SHARE = 2
SECONDS = 45
ANY_XENSTORE = True
USUALLY = {"trixie", "bookworm-cxenstored"}


def run(host: Dom0) -> None:
    identity = host.define("again", "linux-reboots", on_xend_start="start")
    host.define("web", "prompt", on_xend_start="start")
    up = host.lamplighter("up")
    assert up.status == 0, str(up)

    answer = host.lamplighter("down")

    assert answer.status == 0, str(answer)
    assert answer.outcomes == {"again": "clean", "web": "clean"}, str(answer)
    entry = answer.domains["again"]
    assert entry["uuid"] == identity, str(answer)
    assert entry["domid"] > up.domains["again"]["domid"], "it never had another incarnation"
    assert "rebooted" in entry["note"], str(answer)
    assert host.domids() == {}
    # Its second incarnation may be asked so early that its kernel powers off by itself.
    console = host.console("again")
    assert "shutting down (poweroff, behaviour reboots)" in console, console
    _, restarted, after = console.partition("Restarting system")
    assert restarted, console
    assert "System halted" in after or "Power down" in after, console
