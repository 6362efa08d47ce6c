"""Debian guests in a scenario: what is on their disks, their definitions, what they say.

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
#: Seconds that a few of them need to boot together, at the most.
BOOT_TIME = 150.0
#: So often they are started.
TRIES = 3


def make(host: Dom0, guests: Mapping[str, Files], *, agent: bool = True) -> None:
    """Make a disk for each guest, with these files; with the agent that ``make agent`` built."""
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        for name, files in guests.items():
            _lay_out(Path(folder, name), files)
        given = [Path(folder, name) for name in guests]
        if agent and not AGENT.exists():
            raise LabError(f"there is no {AGENT}; `make agent` builds it")
        host.copy([*given, AGENT] if agent else given, INCOMING)
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


def all_up(host: Dom0) -> None:
    """Start all; again, where a kernel has crashed over it.

    Under emulation Linux 6.12 does so at times while it boots, in its first use of SSE registers.
    """
    told = []
    for _ in range(TRIES):
        up = host.lamplighter("up", timeout=300)
        if up.status == 0:
            return
        told.append(str(up))
    raise AssertionError("\n".join(told))


def wait_ready(host: Dom0, *names: str, seconds: float = BOOT_TIME) -> None:
    """Return when the agent in each of these guests has said that it is ready."""
    for name in names:
        host.wait_node(name, "data/lamplighter/ready", "1", seconds=seconds)


def order(host: Dom0, name: str, word: str) -> None:
    """Give a guest the word that a program of its own waits for (``debian/ordered.py``)."""
    host.run(f"xenstore-write /local/domain/{host.domids()[name]}/data/order {word}")


def off_disk(host: Dom0, name: str, path: str) -> str:
    """Return a file from the disk of a guest that is off; empty when there is none."""
    command = f"mount -o ro /dev/mapper/{name} /mnt/{name} && cat /mnt/{name}/{path}"
    told = host.run(f"{command}; umount /mnt/{name}", check=False)
    return told.stdout


def _lay_out(root: Path, files: Files) -> None:
    root.mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
