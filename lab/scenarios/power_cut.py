"""After a power cut or a reboot what was meant to be up is up; what was held or stopped is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

DEADLINE = 900.0
REASON = "its disk makes noises"


def run(host: Dom0) -> None:
    for name in ("aside", "db", "mail", "web"):
        host.define(name, "prompt")
    host.configure('[defaults]\nstart = "last-state"\n')
    answer = host.lamplighter("up", "aside", "db", "mail", "web")
    assert set(answer.outcomes.values()) == {"started"}, str(answer)
    host.wait_console("aside", "lamplighter-guest: up")
    answer = host.lamplighter("hold", "aside", "--now", "--reason", REASON, timeout=200)
    assert answer.status == 0, str(answer)
    assert set(host.domids()) == {"db", "mail", "web"}

    host.cut_power()

    assert set(host.domids()) == {"db", "mail", "web"}, f"running: {host.domids()}"
    _aside_is_held(host)
    boot, cut = runs_of(host)[0], runs_of(host)[-1]
    assert boot["boot_id"] != cut["boot_id"], (boot, cut)
    assert outcomes(boot) == {
        **dict.fromkeys(("db", "mail", "web"), "started"),
        "aside": "held",
    }, boot

    host.wait_console("mail", "lamplighter-guest: up")
    answer = host.lamplighter("down", "mail", timeout=200)
    assert answer.outcomes == {"mail": "clean"}, str(answer)

    host.reboot()

    assert set(host.domids()) == {"db", "web"}, f"running: {host.domids()}"
    _aside_is_held(host)
    status = host.lamplighter("status")
    assert status.domains["mail"]["wanted"] == "down", str(status)
    refused = host.lamplighter("up", "aside")
    assert refused.status == 1, str(refused)
    assert "release" in refused.domains["aside"]["note"], str(refused)
    assert host.lamplighter("release", "aside").status == 0
    assert host.lamplighter("up", "aside").outcomes == {"aside": "started"}


def _aside_is_held(host: Dom0) -> None:
    entry = host.lamplighter("status").domains["aside"]
    assert entry["seen"] == "absent", entry
    assert REASON in entry["why"], entry
