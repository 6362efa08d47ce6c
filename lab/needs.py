"""The Debian packages that the lab needs on this machine, installed when they are missing.

apt's own lists are refreshed only when a package is missing, because that is slow and the network
may be down in a run that needs nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.failure import LabError
from lab.programs import run

#: A program or file that shows that a package is there, and the package.
NEEDS = {
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "mke2fs": "e2fsprogs",
    "tar": "tar",
    "cpio": "cpio",
    "zstd": "zstd",
    "gzip": "gzip",
    "setpriv": "util-linux",
    "gcc": "gcc",
    "/usr/include/xen/xen.h": "libxen-dev",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
#: A network that is away is waited for, for a few minutes.
PATIENT = "Acquire::Retries=8"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def install_needs() -> None:
    """Install what is missing; ``LabError`` when that cannot be done here."""
    if os.geteuid() != 0:
        raise LabError("the lab has to run as root: it makes a root file system with its owners")
    if not shutil.which("apt-get"):
        raise LabError("the lab needs a Debian machine: there is no apt-get here")
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{SBIN}"
    missing = sorted({package for mark, package in NEEDS.items() if not _present(mark)})
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    install(missing)


def install(packages: list[str]) -> None:
    """Install or upgrade Debian packages without a question."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", PATIENT]
    run([*apt, "update"], timeout=300, environ=quiet)
    command = [*apt, "install", "-y", "--no-install-recommends", *packages]
    run(command, timeout=900, environ=quiet)


def _present(mark: str) -> bool:
    return Path(mark).exists() if mark.startswith("/") else shutil.which(mark) is not None
