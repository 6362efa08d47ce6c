"""The guests: what a definition needs to give its guest a behaviour.

Most are the small guest (``spark_guest``), which is up at once and costs next to nothing. Those
called ``linux-`` something are for claims about Linux: dom0's own kernel with a busybox initramfs
of one megabyte, whose scripts are in ``guest/``. The kernel handed to ``xl`` is the ELF image from
inside the bzImage: a guest that must decompress its own kernel takes six times as long to start.

Both get their behaviour from the command line, by the same parameters.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab.failure import LabError
from lab.programs import run

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where dom0 has the guests' files.
HOME = Path("/var/lib/lamplighter-lab")
SCRIPTS = Path(__file__).parent / "guest"
APPLETS = (*("cat", "dd", "echo", "mount", "printf", "sed", "sh", "sleep", "tail"),)
#: A kernel's protections against attackers take a second of a boot; nobody attacks these guests.
UNGUARDED = ("mitigations=off", "init_on_alloc=0", "rodata=off")
XZ, ZSTD = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Behaviour:
    """What a definition needs to give its guest this behaviour; ``memory`` in MiB."""

    kernel: str
    ramdisk: str | None
    memory: int
    extra: str
    note: str


def _parameters(name: str, parameters: Mapping[str, int]) -> list[str]:
    return [f"lamp.behaviour={name}", *(f"lamp.{key}={value}" for key, value in parameters.items())]


def _small(name: str, note: str, **parameters: int) -> Behaviour:
    return Behaviour(str(HOME / "spark"), None, 4, " ".join(_parameters(name, parameters)), note)


def _linux(name: str, note: str, **parameters: int) -> Behaviour:
    parts = ["console=hvc0", "quiet", *UNGUARDED, *_parameters(name, parameters)]
    return Behaviour(str(HOME / "vmlinux"), str(HOME / "initramfs"), 96, " ".join(parts), note)


BEHAVIOURS = {
    "prompt": _small("prompt", "powers off at once"),
    "slow": _small("slow", "takes lamp.seconds to shut down, and says how far it is", seconds=20),
    "deaf": _small("deaf", "never uses XenStore"),
    "hangs": _small("hangs", "acknowledges, and never powers off"),
    "reboots": _small("reboots", "the first time it is asked to power off it reboots instead"),
    "crashes": _small("crashes", "crashes when it is asked to shut down"),
    "quits": _small("quits", "powers off by itself lamp.seconds after it came up", seconds=10),
    "garbles": _small("garbles", "writes random bytes into its own control/shutdown each second"),
    "floods": _small("floods", "writes its own nodes as fast as it can once data/flood is 1"),
    "linux-prompt": _linux("prompt", "powers off at once"),
    "linux-slow": _linux("slow", "as slow, in its user space", seconds=20),
    "linux-reboots": _linux("reboots", "as reboots, by its user space"),
}


def make_guests(root: Path, spark: Path) -> None:
    """Put the guests' files into this root file system of a dom0; ``spark``: the small kernel."""
    home = root / HOME.relative_to("/")
    home.mkdir(parents=True)
    kernel = max((root / "boot").glob("vmlinuz-*"))
    (home / "vmlinux").write_bytes(elf_inside(kernel.read_bytes()))
    shutil.copyfile(spark, home / "spark")
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        _lay_out(Path(folder), root / "bin/busybox")
        packed = f"find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n >{home}/initramfs"
        run(["sh", "-c", packed], timeout=60, cwd=Path(folder))
    behaviours = {name: asdict(behaviour) for name, behaviour in BEHAVIOURS.items()}
    (home / "guests.json").write_text(json.dumps(behaviours, indent=4) + "\n")


def _lay_out(folder: Path, busybox: Path) -> None:
    for name in ("bin", "sbin", "dev", "etc/lamp", "proc", "sys"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(busybox, folder / "bin/busybox")
    for name in APPLETS:
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "init").symlink_to("bin/busybox")
    for name, major, minor in (("console", 5, 1), ("null", 1, 3)):
        os.mknod(folder / "dev" / name, stat.S_IFCHR | 0o600, os.makedev(major, minor))
    shutil.copyfile(SCRIPTS / "inittab", folder / "etc/inittab")
    for name in ("common", "rc", "halt"):
        shutil.copyfile(SCRIPTS / name, folder / "etc/lamp" / name)
    shutil.copyfile(SCRIPTS / "xs", folder / "bin/xs")
    for name in ("poweroff", "reboot"):
        (folder / "sbin" / name).symlink_to("../etc/lamp/halt")
    for program in ("bin/busybox", "bin/xs", "etc/lamp/rc", "etc/lamp/halt"):
        (folder / program).chmod(0o755)


def elf_inside(bzimage: bytes) -> bytes:
    """Return the uncompressed kernel that a bzImage carries in an xz or zstd stream."""
    at = bzimage.find(XZ)
    while at != -1:
        try:
            kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(bzimage[at:])
        except lzma.LZMAError:
            kernel = b""
        if kernel.startswith(b"\x7fELF"):
            return kernel
        at = bzimage.find(XZ, at + 1)
    return _zstd_elf(bzimage)


def _zstd_elf(bzimage: bytes) -> bytes:
    at = bzimage.find(ZSTD)
    if at == -1:
        raise LabError("the kernel holds neither an xz nor a zstd stream")
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        stream, kernel = Path(folder, "stream"), Path(folder, "kernel")
        stream.write_bytes(bzimage[at:])
        # The stream is followed by other bytes, which zstd complains of when it has written all.
        run(["sh", "-c", f"zstd -qdc {stream} >{kernel} || test -s {kernel}"], timeout=120)
        if not kernel.read_bytes().startswith(b"\x7fELF"):
            raise LabError("the kernel's zstd stream holds no ELF image")
        return kernel.read_bytes()
