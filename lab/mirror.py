"""Where this machine gets Debian's packages from, and the keys that sign them.

The lab names no mirror: it takes the one that this machine's apt already uses for Debian, with
apt's proxies, and asks it for the suites it needs. Signatures are always checked. A machine of an
older release may hold a keyring from before the newer suite's keys existed; Debian then ships the
new keys in an update of its keyring package, and that is what is installed.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path

from lab import needs
from lab.failure import LabError
from lab.programs import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FIELDS = "$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)"
#: Images are built side by side, but apt can change this machine for one of them at a time.
APT = threading.Lock()
PROXY = re.compile(r'^(Acquire::\w+::Proxy\S*) "(.*)";$', re.MULTILINE)


@dataclass(frozen=True)
class Mirror:
    """A Debian archive as this machine reaches it; ``options`` are what apt is to know for that."""

    address: str
    options: tuple[str, ...]


def find_mirror() -> Mirror:
    """Return the archive of this machine's own apt sources."""
    with APT:
        address = _debian_archive()
        if address is None:
            run(["apt-get", "-qq", "-o", needs.PATIENT, "update"], timeout=300)
            address = _debian_archive()
    if address is None:
        raise LabError("apt's sources on this machine hold no Debian archive (Origin: Debian)")
    settings = run(["apt-config", "dump"], timeout=30)
    known = [needs.PATIENT.split("="), *PROXY.findall(settings)]
    return Mirror(address, tuple(f'{key} "{value}"' for key, value in known))


def keyring_for(suite: str) -> Path:
    """Return a keyring with the keys of this suite, fetching Debian's newer one when needed."""
    with APT:
        if not _has_keys_of(suite):
            needs.install([KEYRING.stem])
    if not _has_keys_of(suite):
        raise LabError(f"{KEYRING.stem} of this machine's release has no keys for {suite}")
    return KEYRING


def _debian_archive() -> str | None:
    listed = run(
        ["apt-get", "indextargets", "--format", FIELDS, "Created-By: Packages"], timeout=60
    )
    for line in listed.splitlines():
        address, *rest = line.split()
        if rest == ["Debian", "Debian", "main"]:
            return address
    return None


def _has_keys_of(suite: str) -> bool:
    # The keyring package also holds each suite's keys in files of their own.
    return KEYRING.exists() and any(KEYRING.parent.glob(f"debian-archive-{suite}-*"))
