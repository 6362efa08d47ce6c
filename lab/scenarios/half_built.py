"""A domain that a killed `xl create` left half built is removed at once; a paused one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.dom0 import DEFINITIONS

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = ("src/lamplighter/engine/stop/outcome.py", "src/lamplighter/toolstacks/xl.py")
SHARE = 0
SECONDS = 45
USUALLY = {"bookworm"}
#: How long what is paused on purpose is asked; what is half built is gone before its end.
PAUSED = 12
TRIES = 10


def run(host: Dom0) -> None:
    # The small guest would be made before `xl create` is killed.
    host.define("half", "linux-prompt")
    host.define("paused", "prompt")
    host.define("web", "prompt")
    host.configure(f'[domain.paused]\nstop_timeout = "{PAUSED}s"\n')
    host.create("web")
    host.wait_up("web")
    scope = "systemd-run --quiet --scope --unit=by-hand-paused"
    host.run(f"{scope} xl create -q -p {DEFINITIONS}/paused.cfg >/dev/null 2>&1")
    _leave_half_built(host)

    down = host.lamplighter("down", timeout=200)

    assert down.outcomes == {"half": "already", "paused": "forced", "web": "clean"}, str(down)
    assert down.domains["half"]["note"].startswith("half built and never run"), str(down)
    assert down.domains["paused"]["seconds"] >= PAUSED, str(down)
    assert down.domains["half"]["seconds"] < down.domains["paused"]["seconds"], str(down)
    assert host.domids() == {}
    listed = host.run("xl list").stdout.splitlines()
    assert len(listed) == 2, f"more than the heading and dom0: {listed}"


def _leave_half_built(host: Dom0) -> None:
    """Kill `xl create` as soon as the domain is listed, until it has left one that never ran."""
    create = f"xl create -q {DEFINITIONS}/half.cfg >/dev/null 2>&1 & creator=$!"
    listed = "until xl list half >/dev/null 2>&1; do :; done"
    for _ in range(TRIES):
        host.run(f"{create}; {listed}; kill -KILL $creator; wait $creator", check=False)
        line = host.run("xl list -v half").stdout.splitlines()[-1].split()
        if "p" in line[4] and line[5] == "0.0":
            return
        host.run("xl destroy half")
    raise AssertionError(f"xl create was too fast {TRIES} times")
