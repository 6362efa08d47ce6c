"""QEMU: Debian 13's on every machine, whatever this one runs.

Debian 12's takes twice as long to start a process inside a PV domain, and a lab that everywhere has
the same emulator meets the same defects of it. It is installed into a folder of its own and started
by that folder's own loader with that folder's libraries, so it needs neither a mount nor anything
of this machine but its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import cache, mirror
from lab.programs import run
from lab.rootfs import LEFT_OUT

if TYPE_CHECKING:
    from lab.cache import Cache

SUITE = "trixie"
PACKAGES = ("qemu-system-x86", "qemu-utils")
LOADER, LIBRARIES = "lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"
PROGRAMS, FIRMWARE = "usr/bin", ("usr/share/qemu", "usr/share/seabios")


@dataclass(frozen=True)
class Emulator:
    """QEMU as it lies in a root file system of its own."""

    root: Path

    def machine(self) -> list[str]:
        """Return how a command line that runs an x86-64 machine begins."""
        firmware = [word for place in FIRMWARE for word in ("-L", str(self.root / place))]
        return [*self._start("qemu-system-x86_64"), *firmware]

    def image(self) -> list[str]:
        """Return how a command line that makes a disk's image begins."""
        return self._start("qemu-img")

    def _start(self, program: str) -> list[str]:
        loader = [str(self.root / LOADER), "--library-path", str(self.root / LIBRARIES)]
        return [*loader, str(self.root / PROGRAMS / program)]


def build_emulator(store: Cache) -> Emulator:
    """Return the emulator, installed when the cache has none."""
    recipe: list[str | bytes] = [SUITE, *LEFT_OUT, *cache.text_of(Path(__file__))]
    return Emulator(store.get("qemu", recipe, _build) / "root")


def _build(place: Path) -> None:
    archive, packed, root = mirror.find_mirror(), place / "root.tar", place / "root"
    command = [
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar"),
        f"--keyring={mirror.keyring_for(SUITE)}",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in archive.options),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(SUITE, str(packed), archive.address),
    ]
    run(command, timeout=1800, log=place / "mmdebstrap.log")
    root.mkdir()
    run(["tar", "-C", root, "--exclude=./dev/*", "-xf", packed], timeout=300)
    packed.unlink()
