"""Debian guests in a scenario: what is on their disks, their definitions, their output.

Files are given as text by their path inside the guest; what begins with "#!" can be executed, and
a unit below etc/systemd/system that says where it is wanted is wanted there.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import debian_guest
from lab.failure import LabError
from lab.guests import HOME
from lab.wheels import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.dom0 import Dom0, Value

Files = dict[str, str]

AGENT = ROOT / "dist" / "lamplighter-agent"
INCOMING = f"{HOME}/incoming/debian"
#: Seconds that one of them needs to boot, at the most, on a slow and busy machine.
BOOT_TIME = 200.0
#: So often they are started: under emulation Linux 6.12 has crashed at times while it boots.
TRIES = 3
#: How many lines of its console are shown of a guest that did not become ready.
LAST_LINES = 8


def make(host: Dom0, guests: Mapping[str, Files]) -> None:
    """Make a disk for each guest, with these files; with the agent that ``make agent`` built."""
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        for name, files in guests.items():
            _lay_out(Path(folder, name), files)
        given = [Path(folder, name) for name in guests]
        if not AGENT.exists():
            raise LabError(f"there is no {AGENT}; `make agent` builds it")
        host.copy([*given, AGENT], INCOMING)
    script = (debian_guest.SCRIPTS / "prepare").read_text()
    host.run(f"sh -s {' '.join(guests)}", give=script, timeout=120)


def define(host: Dom0, name: str, **keys: Value) -> str:
    """Write the definition of a guest whose disk was made; return its UUID."""
    values: dict[str, Value] = {
        "kernel": str(HOME / "vmlinux"),
        "ramdisk": str(debian_guest.INITRAMFS),
        "memory": debian_guest.MEMORY,
        "extra": debian_guest.EXTRA,
        "disk": [f"vdev=xvda,script={debian_guest.HOTPLUG},target=/dev/mapper/{name}"],
    }
    return host.write_definition(name, {**values, **keys})


def all_ready(host: Dom0, *names: str) -> None:
    """Start these one after another; return when the agent in each has reported that it is ready.

    On two emulated processors five that boot at once take several times as long.
    """
    for name in names:
        if not any(_becomes_ready(host, name) for _ in range(TRIES)):
            raise AssertionError(f"{name} is gone again before it is ready, {TRIES} times")


def _becomes_ready(host: Dom0, name: str) -> bool:
    """Start a guest; return whether it is ready, as soon as it is that or gone."""
    host.create(name)
    home = f"/local/domain/{host.domids().get(name)}"
    ready = f'[ "$(xenstore-read {home}/data/lamplighter/ready)" = 1 ]'
    try:
        gone = f"! xenstore-exists {home}/domid"
        host.wait_until(f"{name} to be ready", f"{ready} || {gone}", seconds=BOOT_TIME)
    except LabError as error:
        lines = host.console(name).splitlines()[-LAST_LINES:]
        raise LabError("\n  ".join((f"{error}; its console ends with", *lines))) from error
    return host.run(ready, check=False).status == 0


def order(host: Dom0, name: str, what: str) -> None:
    """Give a guest the order that a program in it waits for (``debian/ordered.py``)."""
    host.run(f"xenstore-write /local/domain/{host.domids()[name]}/data/order {what}")


def off_disk(host: Dom0, name: str, path: str) -> str:
    """Return a file from the disk of a guest that is off; empty when there is none."""
    command = f"mount -o ro /dev/mapper/{name} /mnt/{name} && cat /mnt/{name}/{path}"
    ended = host.run(f"{command}; umount /mnt/{name}", check=False)
    return ended.stdout


def _lay_out(root: Path, files: Files) -> None:
    root.mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
