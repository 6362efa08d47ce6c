"""The guests: dom0's kernel, a busybox initramfs of one megabyte, and a temper for each.

A temper is chosen on the kernel's command line, so one initramfs serves them all. The scripts of
its user space are in ``guest/``. The kernel handed to ``xl`` is the ELF image from inside the
bzImage: a guest that must decompress its own kernel takes six times as long to start.

``deaf`` is no Linux at all: GRUB's Xen image boots to a prompt and never reads XenStore.
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

from lab.failure import LabError
from lab.programs import run

#: Where dom0 has the guests' files.
HOME = Path("/var/lib/lamplighter-lab")
SCRIPTS = Path(__file__).parent / "guest"
APPLETS = (
    *("awk", "cat", "dd", "echo", "grep", "head", "mount", "printf", "ps", "sed", "sh"),
    *("sleep", "tail", "tr", "sync"),
)
#: What guards a kernel against attackers costs a guest that nobody attacks a second of its boot.
UNGUARDED = ("mitigations=off", "init_on_alloc=0", "rodata=off")
XZ, ZSTD = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Temper:
    """What a definition needs to give its guest this temper; ``memory`` in MiB."""

    kernel: str
    ramdisk: str | None
    memory: int
    extra: str
    note: str
    cap: int = 0  # percent of one processor; 0 is no limit


def _linux(name: str, note: str, **parameters: int) -> Temper:
    words = ["console=hvc0", "quiet", *UNGUARDED, f"lamp.temper={name}"]
    words += [f"lamp.{key}={value}" for key, value in parameters.items()]
    return Temper(str(HOME / "vmlinux"), str(HOME / "initramfs"), 96, " ".join(words), note)


TEMPERS = {
    "prompt": _linux("prompt", "powers off at once"),
    "slow": _linux("slow", "takes lamp.seconds to shut down, and says how far it is", seconds=20),
    "hangs": _linux("hangs", "its kernel acknowledges, its user space never powers off"),
    "reboots": _linux("reboots", "the first time it is asked to power off it reboots instead"),
    "crashes": _linux("crashes", "its kernel panics when it is asked to shut down"),
    "quits": _linux("quits", "powers off by itself lamp.seconds after it came up", seconds=10),
    "garbles": _linux("garbles", "writes random bytes into its own control/shutdown all the time"),
    # At its prompt GRUB never sleeps: without a cap it would take a processor from all others.
    "deaf": Temper(
        str(HOME / "grub-xen"), None, 32, "", "never acknowledges: GRUB at its prompt", cap=20
    ),
}


def make_guests(root: Path) -> None:
    """Put the guests' files into this root file system of a dom0."""
    home = root / HOME.relative_to("/")
    home.mkdir(parents=True)
    kernel = max((root / "boot").glob("vmlinuz-*"))
    (home / "vmlinux").write_bytes(elf_inside(kernel.read_bytes()))
    shutil.copyfile(root / "usr/lib/grub-xen/grub-x86_64-xen.bin", home / "grub-xen")
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        _lay_out(Path(folder), root / "bin/busybox")
        packed = f"find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n >{home}/initramfs"
        run(["sh", "-c", packed], timeout=60, cwd=Path(folder))
    tempers = {name: asdict(temper) for name, temper in TEMPERS.items()}
    (home / "guests.json").write_text(json.dumps(tempers, indent=4) + "\n")


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
