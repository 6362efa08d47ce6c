"""One broken definition among good ones, a suspend policy, and a domain that no file defines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/formats/definition.py",
    "src/lamplighter/formats/xlcfg.py",
    "src/lamplighter/host/files/trust.py",
    "src/lamplighter/service/inventory.py",
)
SHARE = 2
SECONDS = 60
USUALLY = {"bookworm"}
SYNTAX = 'name = "broken"\nmemory = [1,\n'


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("cache", "prompt", on_xend_start="start", on_xend_stop="suspend")
    host.define("loose", "prompt", on_xend_start="start")
    host.run("chmod 666 /etc/xen/loose.cfg")
    host.put("/etc/xen/broken.cfg", SYNTAX)
    host.define("stranger", "prompt", folder="/root")
    host.create("stranger", folder="/root")

    check = host.lamplighter("check")
    assert check.status == 78, str(check)
    problems = "\n".join(str(problem) for problem in check.document["problems"])
    for words in ("/etc/xen/broken.cfg", "/etc/xen/loose.cfg", "suspend"):
        assert words in problems, str(check)

    up = host.lamplighter("up")
    assert up.status == 1, str(up)
    assert up.outcomes["web"] == up.outcomes["cache"] == "started", str(up)
    assert up.outcomes["loose"] == up.outcomes["broken"] == "failed", str(up)
    assert "broken.cfg:3" in up.domains["broken"]["note"], str(up)
    assert set(host.domids()) == {"web", "cache", "stranger"}, f"running: {host.domids()}"

    plan = host.lamplighter("plan", "down")
    [step] = [step for step in plan.document["steps"] if step["name"] == "cache"]
    assert "suspend is refused" in " ".join([step["reason"], *step["notes"]]), str(plan)

    down = host.lamplighter("down")
    assert down.status == 0, str(down)
    assert down.outcomes == dict.fromkeys(("web", "cache", "stranger"), "clean"), str(down)
    assert "suspend is refused" in down.domains["cache"]["note"], str(down)
    for name in ("web", "cache", "stranger"):
        assert "shutting down (poweroff" in host.console(name), host.console(name)
