"""The lab's small guest is saved, restored and checkpointed by `xl`, and goes on as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = ("lab/spark/*", "lab/spark_guest.py")
SHARE = 1
SECONDS = 60
ANY_XENSTORE = True
USUALLY = {"trixie", "bookworm-cxenstored"}
PRODUCT = False
SAVED = "/root/saved"
FEATURES = ("poweroff", "reboot", "suspend")
#: Long enough to be saved meanwhile; a guest that is saved does not age.
SECONDS_TO_STOP = 20


def run(host: Dom0) -> None:
    host.define("web", "prompt")
    host.define("slow", "slow", seconds=SECONDS_TO_STOP)
    host.define("rogue", "floods")
    host.create("web", "slow", "rogue")
    first = host.domids()
    for name in first:
        _advertises(host, name)

    # A checkpoint: what is suspended goes on in the same domain, and the same watches fire.
    host.run(f"xl save -c web {SAVED}", timeout=120)
    host.wait_console("web", "goes on: the suspend was cancelled")
    assert host.domids() == first

    # In the middle of a stop, and beside a watch of its own.
    host.run("xl shutdown slow")
    host.wait_console("slow", "stopping, 1 of")
    for name in ("slow", "web", "rogue"):
        host.run(f"xl save {name} {SAVED} && xl restore {SAVED}", timeout=120)
        host.wait_console(name, "goes on: restored")
        assert host.domids().get(name) != first[name], f"{name} is not another domain"

    for name in ("web", "rogue"):
        _advertises(host, name)
    host.run(f"xenstore-write /local/domain/{host.domids()['rogue']}/data/flood 1")
    host.wait_console("rogue", "updates/s")
    host.run("xl destroy rogue")
    host.run("xl shutdown -w web", timeout=60)
    host.wait_for("all of them to be gone", lambda: not host.domids())
    found = [line for line in host.console("slow").splitlines() if "stopping" in line]
    expected = [f"stopping, {n} of {SECONDS_TO_STOP}" for n in range(1, SECONDS_TO_STOP + 1)]
    assert [line.partition("guest: ")[2] for line in found] == expected, found


def _advertises(host: Dom0, name: str) -> None:
    for feature in FEATURES:
        host.wait_node(name, f"control/feature-{feature}", "1")
