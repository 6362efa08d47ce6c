"""The xl process of a domain is killed first: the domain still ends, and is reaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.dom0 import Dom0


SUBJECT = ("src/lamplighter/engine/stop/outcome.py", "src/lamplighter/toolstacks/xl.py")
SHARE = 1
SECONDS = 35


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("db", "prompt", on_xend_start="start")
    assert host.lamplighter("up").status == 0
    host.run("pkill -KILL -x xl")

    answer = host.lamplighter("down")

    assert answer.status == 0, str(answer)
    assert answer.outcomes == {"web": "clean", "db": "clean"}, str(answer)
    for entry in answer.domains.values():
        assert "nobody reaped it" in entry["note"], str(answer)
    listed = host.run("xl list").stdout.splitlines()
    assert len(listed) == 2, f"more than the heading and dom0: {listed}"
