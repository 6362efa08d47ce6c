"""The disk that boots: the root file system, the lab's settings, guests, what the product needs.

One image serves a suite. A parameter on dom0's kernel command line chooses the xenstored,
because /etc/default/xen is a shell script that the boot reads before it starts one.
"""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache, debian_guest, guests, spark_guest, wheels
from lab.emulator import build_emulator
from lab.programs import run
from lab.rootfs import build_rootfs

if TYPE_CHECKING:
    from lab.cache import Cache
    from lab.emulator import Emulator
    from lab.variants import Suite

DISK_SIZE = "4000M"
ADDRESS = "10.0.2.15"  # what QEMU's user network gives its first guest
C_XENSTORED = "lamplab.xenstored=c"

NETWORK = f"""\
[Match]
Name=eth0
[Network]
Address={ADDRESS}/24
Gateway=10.0.2.2
"""

SSHD = """\
UseDNS no
MaxSessions 64
MaxStartups 64
"""

DEFAULT_XEN = f"""
# The lab's: consoles are logged, and the boot's command line chooses the xenstored.
XENCONSOLED_ARGS="--log=guest"
if grep -qw {C_XENSTORED} /proc/cmdline; then
    XENSTORED=/usr/lib/xen-{{xen}}/bin/xenstored
fi
"""

#: The list of the guests that have rebooted instead of powering off, writable by any domain.
STORE_UNIT = """\
[Unit]
Description=The lab's nodes in XenStore
After=xen.service
Wants=xen.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/xenstore-write /lamplighter-lab/rebooted -
ExecStart=/usr/bin/xenstore-chmod /lamplighter-lab/rebooted b0
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Image:
    """QEMU, what it needs to boot this suite's host, and the key that opens it."""

    emulator: Emulator
    disk: Path
    xen: Path
    kernel: Path
    initrd: Path
    key: Path


def build_image(suite: Suite, store: Cache) -> Image:
    """Return this suite's image, built when the cache has none."""
    rootfs = build_rootfs(suite, store)
    house = wheels.wheelhouse(store)
    debian = debian_guest.build_debian(suite, store)
    spark = spark_guest.build_spark(store)
    sources = [Path(__file__), Path(guests.__file__), guests.SCRIPTS, *debian_guest.SOURCES]
    parts = (rootfs.parent.name, house.name, debian.parent.name, spark.parent.name)
    recipe: list[str | bytes] = [*parts, *cache.text_of(*sources)]
    place = store.get(
        f"image-{suite.name}",
        recipe,
        lambda into: _build(suite, into, rootfs=rootfs, house=house, debian=debian, spark=spark),
    )
    files = ("disk.img", "xen", "vmlinuz", "initrd", "key")
    return Image(build_emulator(store), *(place / name for name in files))


def _build(
    suite: Suite, place: Path, *, rootfs: Path, house: Path, debian: Path, spark: Path
) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "key"], timeout=30)
    with TemporaryDirectory(prefix="root-", dir=place) as folder:
        root = Path(folder)
        run(["tar", "-C", root, "--numeric-owner", "--xattrs", "-xf", rootfs], timeout=300)
        root.chmod(0o755)
        _settings(root, suite, (place / "key.pub").read_text())
        guests.make_guests(root, spark)
        debian_guest.make_debian(root, debian)
        wheels.install_needs(root, house)
        boot = root / "boot"
        xen = gzip.decompress((boot / f"xen-{suite.xen}-amd64.gz").read_bytes())
        (place / "xen").write_bytes(xen)
        shutil.copyfile(max(boot.glob("vmlinuz-*")), place / "vmlinuz")
        shutil.copyfile(max(boot.glob("initrd.img-*")), place / "initrd")
        make = ["mke2fs", "-q", "-t", "ext4", "-L", "lab", "-d"]
        run([*make, root, place / "disk.img", DISK_SIZE], timeout=300)


def _settings(root: Path, suite: Suite, public_key: str) -> None:
    def put(name: str, text: str, mode: int = 0o644) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    put("etc/hostname", "lab\n")
    put("etc/hosts", "127.0.0.1 localhost lab\n")
    put("etc/fstab", "/dev/vda / ext4 rw,noatime 0 0\n")
    put("etc/systemd/network/eth0.network", NETWORK)
    put("etc/ssh/sshd_config.d/lab.conf", SSHD)
    put("root/.ssh/authorized_keys", public_key, 0o600)
    (root / "root/.ssh").chmod(0o700)
    settings = root / "etc/default/xen"
    settings.write_text(settings.read_text() + DEFAULT_XEN.format(xen=suite.xen))
    put("etc/systemd/system/lab-store.service", STORE_UNIT)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "lab-store.service").symlink_to("/etc/systemd/system/lab-store.service")
    # Not a first boot: systemd does not repeat what a new /usr requires.
    for name in ("etc", "var"):
        (root / name / ".updated").touch()
    # The journal of the boot before a reboot is evidence too.
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    (root / "var/log/xen/console").mkdir(parents=True, exist_ok=True)
