"""A whole Debian as a guest: systemd, Python and a block device, of the same suite as its dom0.

Its disk is an ext4 file that is built once and lies in dom0. No guest writes to it: each gets a
snapshot by the device mapper over a sparse file, which costs nothing to make, and all read the
same pages of dom0's memory. Its kernel is dom0's own; its initramfs is a busybox that loads the
few modules a Xen disk needs. What a guest without users, network and mail need not do at each
boot is switched off, because under emulation every process costs tenths of a second: it is up in
9 seconds instead of 26.

The agent is not on this disk: a scenario puts the one of this checkout into each guest.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache, mirror
from lab.guests import HOME, UNGUARDED
from lab.programs import run
from lab.rootfs import LEFT_OUT

if TYPE_CHECKING:
    from lab.cache import Cache
    from lab.variants import Suite

#: Where dom0 has the disk that all snapshots are of, and the initramfs.
DISK, INITRAMFS = HOME / "debian.img", HOME / "debian-initramfs"
#: Connects a snapshot to a guest.
HOTPLUG = "block-lab"
MEMORY = 256
EXTRA = f"console=hvc0 quiet {' '.join(UNGUARDED)} root=/dev/xvda rw systemd.show_status=0"
SCRIPTS = Path(__file__).parent / "debian"
#: All that the disk of dom0 is made of here.
SOURCES = (Path(__file__), SCRIPTS / "init", SCRIPTS / HOTPLUG)

PACKAGES = ("python3", "systemd-sysv")
DISK_SIZE = "500M"
#: What the disk driver and the file system need is found from here.
MODULES = ("crc32c_generic", "xen-blkfront", "ext4")

#: Nothing here would be missed by anybody in this guest, and each would make its boot longer:
#: the kernel's devtmpfs has every device that there is, and the image every file.
SWITCHED_OFF = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "systemd-tmpfiles-clean.timer"),
    *("getty@tty1.service", "serial-getty@hvc0.service", "console-getty.service"),
    *("getty-static.service", "systemd-logind.service", "systemd-user-sessions.service"),
    *("systemd-timesyncd.service", "systemd-networkd.service", "systemd-pstore.service"),
    *("systemd-random-seed.service", "systemd-update-utmp.service", "systemd-sysctl.service"),
    *("systemd-update-utmp-runlevel.service", "systemd-modules-load.service"),
    *("systemd-journal-flush.service", "kmod-static-nodes.service", "keyboard-setup.service"),
    *("modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service"),
    *("modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "tmp.mount"),
    *("sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"),
    *("proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "run-lock.mount"),
    *("systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *("systemd-remount-fs.service", "systemd-fsck-root.service", "systemd-tmpfiles-setup.service"),
    *("systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-setup-dev-early.service"),
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udev-settle.service"),
    *("systemd-udev-load-credentials.service", "systemd-udevd-control.socket"),
    *("systemd-udevd-kernel.socket", "systemd-creds.socket", "systemd-sysext.socket"),
    *("systemd-hostnamed.socket", "systemd-initctl.socket", "systemd-sysusers.service"),
    *("ldconfig.service", "systemd-journal-catalog-update.service", "systemd-update-done.service"),
    *("systemd-hwdb-update.service", "systemd-machine-id-commit.service"),
)

#: What a guest logs is on its console, where dom0 keeps it.
JOURNALD = "[Journal]\nStorage=volatile\nForwardToConsole=yes\nMaxLevelConsole=info\n"


def build_debian(suite: Suite, store: Cache) -> Path:
    """Return the disk of this suite's Debian guest, built when the cache has none."""
    recipe: list[str | bytes] = [suite.name, *cache.text_of(Path(__file__))]
    return store.get(f"debian-{suite.name}", recipe, lambda place: _build(suite, place)) / "disk"


def make_debian(root: Path, disk: Path) -> None:
    """Put the Debian guest's disk and initramfs into this root file system of a dom0."""
    run(["cp", "--sparse=always", disk, root / DISK.relative_to("/")], timeout=120)
    hotplug = root / "etc/xen/scripts" / HOTPLUG
    shutil.copyfile(SCRIPTS / HOTPLUG, hotplug)
    hotplug.chmod(0o755)
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        _lay_out(Path(folder), root)
        place = root / INITRAMFS.relative_to("/")
        packed = f"find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -9n >{place}"
        run(["sh", "-c", packed], timeout=60, cwd=Path(folder))


def _build(suite: Suite, place: Path) -> None:
    archive = mirror.find_mirror()
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        root = Path(folder, "root")
        command = [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
            f"--keyring={mirror.keyring_for(suite.name)}",
            f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={option}" for option in archive.options),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            '--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*',
            *(suite.name, str(root), archive.address),
        ]
        run(command, timeout=1800, log=place / "mmdebstrap.log")
        _settings(root)
        make = ["mke2fs", "-q", "-t", "ext4", "-L", "debian", "-m", "0", "-d"]
        run([*make, root, place / "disk", DISK_SIZE], timeout=300)


def _settings(root: Path) -> None:
    root.chmod(0o755)
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/fstab").write_text("")
    # With a machine id systemd does not take this for a first boot.
    (root / "etc/machine-id").write_text("6c616d706c6967687465720000000000\n")
    journald = root / "etc/systemd/journald.conf.d/lab.conf"
    journald.parent.mkdir(parents=True)
    journald.write_text(JOURNALD)
    units, generators = root / "etc/systemd/system", root / "etc/systemd/system-generators"
    for name in SWITCHED_OFF:
        _mask(units / name)
    # They alone take five seconds to find nothing.
    generators.mkdir(parents=True)
    for generator in (root / "lib/systemd/system-generators").iterdir():
        _mask(generators / generator.name)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")


def _mask(place: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to("/dev/null")


def _lay_out(folder: Path, root: Path) -> None:
    for name in ("bin", "dev", "modules", "root"):
        (folder / name).mkdir()
    shutil.copyfile(root / "bin/busybox", folder / "bin/busybox")
    shutil.copyfile(SCRIPTS / "init", folder / "init")
    for program in ("bin/busybox", "init"):
        (folder / program).chmod(0o755)
    os.mknod(folder / "dev/console", stat.S_IFCHR | 0o600, os.makedev(5, 1))
    order = _needed(root)
    for path in order:
        module = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        (folder / "modules" / path.name.removesuffix(".xz")).write_bytes(module)
    names = [path.name.removesuffix(".xz") for path in order]
    (folder / "modules/order").write_text("".join(f"{name}\n" for name in names))


def _needed(root: Path) -> list[Path]:
    """Return the files of ``MODULES`` and of all that they need, in the order to load them."""
    (home,) = (root / "lib/modules").glob("*")
    needs = {}
    for line in (home / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    order: list[str] = []

    def add(path: str) -> None:
        for other in needs[path]:
            add(other)
        if path not in order:
            order.append(path)

    by_name = {Path(path).name.partition(".")[0]: path for path in needs}
    for name in MODULES:
        add(by_name[name])
    return [home / path for path in order]
