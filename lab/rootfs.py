"""dom0's root file system: Debian's packages and nothing of ours, as one tar file.

It takes a minute or two and changes rarely, so it is cached apart from the disk that is made of it.
What has to run inside the new system (the virtual environment, which services start) is done here,
where mmdebstrap has /proc and /dev mounted; what is only written is done by ``image``.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache, mirror
from lab.programs import run

if TYPE_CHECKING:
    from lab.cache import Cache
    from lab.variants import Suite

PACKAGES = (
    "busybox-static",
    "dbus",
    "iproute2",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon-driver-xen",
    "libvirt-daemon-system",
    "linux-image-amd64",
    "lz4",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "qemu-system-xen",
    "seabios",
    "socat",
    "systemd-sysv",
    "udev",
    "xenstore-utils",
)
XEN_PACKAGES = ("xen-hypervisor-{xen}-amd64", "xen-utils-{xen}")
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")

#: An initrd with what finds this disk and nothing more: it boots in a quarter of the time.
INITRAMFS_CONF = "MODULES=list\nCOMPRESS=lz4\n"
INITRAMFS_MODULES = "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"

#: Done inside the new system. Other services that move domains are a scenario's choice.
INSIDE = r"""
set -e
export LC_ALL=C
for unit in xendomains libvirt-guests apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
            e2scrub_reap.service fstrim.timer dpkg-db-backup.timer systemd-timesyncd; do
    systemctl disable "$unit" 2>/dev/null || true
done
# What nobody would miss here and every boot would wait for.
systemctl mask getty@tty1 serial-getty@hvc0 user@.service systemd-binfmt systemd-network-generator \
    proc-sys-fs-binfmt_misc.automount 2>/dev/null
systemctl enable systemd-networkd ssh
python3 -m venv /opt/lamplighter
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
"""


def build_rootfs(suite: Suite, store: Cache) -> Path:
    """Return the tar file of this suite's dom0, built when the cache has none."""
    recipe: list[str | bytes] = [suite.name, suite.xen, *cache.text_of(Path(__file__))]
    return (
        store.get(f"rootfs-{suite.name}", recipe, lambda place: _build(suite, place)) / "root.tar"
    )


def _build(suite: Suite, place: Path) -> None:
    archive = mirror.find_mirror()
    packages = [*PACKAGES, *(name.format(xen=suite.xen) for name in XEN_PACKAGES)]
    with TemporaryDirectory(prefix="lamplighter-lab-") as folder:
        settings = Path(folder, "initramfs-tools")
        (settings / "conf.d").mkdir(parents=True)
        (settings / "conf.d" / "lab").write_text(INITRAMFS_CONF)
        (settings / "modules").write_text(INITRAMFS_MODULES)
        script = Path(folder, "inside.sh")
        script.write_text(INSIDE)
        command = [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar"),
            f"--keyring={mirror.keyring_for(suite.name)}",
            f"--include={','.join(packages)}",
            *(f"--aptopt={option}" for option in archive.options),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            f"--essential-hook=copy-in {settings} /etc",
            f'--customize-hook=chroot "$1" sh -s < {script}',
            *(suite.name, str(place / "root.tar"), archive.address),
        ]
        run(command, timeout=1800, log=place / "mmdebstrap.log")
