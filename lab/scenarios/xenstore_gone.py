"""Without XenStore's socket, commands end with 69 and take no domain to be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/errors.py",
    "src/lamplighter/host/xenstore/client.py",
    "src/lamplighter/host/xenstore/transport.py",
)
SHARE = 0
SECONDS = 60
ANY_XENSTORE = True
USUALLY = {"bookworm-cxenstored"}
SOCKET = "/run/xenstored/socket"


def run(host: Dom0) -> None:
    host.define("web", "prompt", on_xend_start="start")
    host.define("hand", "prompt")
    assert host.lamplighter("up").status == 0
    before = host.domids()
    host.run(f"mv {SOCKET} {SOCKET}.away")

    for command in (("status",), ("plan", "down"), ("plan", "up"), ("up",), ("down",)):
        answer = host.lamplighter(*command)
        assert answer.status == 69, f"{command}: {answer}"
        seen = {entry["seen"] for entry in answer.document.get("domains", [])}
        assert seen <= {"unknown"}, f"{command}: {answer}"
        assert answer.document["error"]["hint"], f"{command} does not say what to do: {answer}"

    host.run(f"mv {SOCKET}.away {SOCKET}")
    assert host.domids() == before, "something was moved by a host that could not be seen"
    status = host.lamplighter("status")
    assert status.domains["web"]["seen"] == "running", str(status)
    answer = host.lamplighter("down")
    assert answer.outcomes == {"web": "clean"}, str(answer)
