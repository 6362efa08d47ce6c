"""Names of our units, and a check for other enabled services that would act on the same domains.

Units are looked up as systemd does it, but in files and links alone. So it works while systemd is
busy and inside a folder that is to become a host, and starts no program.
"""

from __future__ import annotations

import os
from pathlib import Path

from lamplighter.model.problem import Location, Problem

#: The unit that starts and stops the domains.
SERVICE = "lamplighter-domains.service"

#: The unit of the monitor.
MONITOR = "lamplighter-monitor.service"

#: Where systemd looks for units; the first match wins.
UNIT_FOLDERS = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
)

#: Services that start and stop the same domains, and what they do.
CONFLICTING = {
    "xendomains": "it starts what is in /etc/xen/auto, and at the host's stop saves or shuts down"
    " every domain that it sees",
    "libvirt-guests": "at the host's stop it saves or shuts down libvirt's domains, and may start"
    " them again with the host",
}

_NULL = "/dev/null"


def conflicting_units(root: Path = Path("/")) -> list[Problem]:
    """Return a problem for each service that would act on the same domains."""
    links = {name: enabling_link(name, root) for name in CONFLICTING}
    return [
        Problem(
            "conflicting-unit",
            f"{name} is enabled and acts on the same domains: {CONFLICTING[name]}",
            Location(str(link)),
            hint=f"systemctl disable {name} (without --now: to stop it now would stop domains; at"
            " the host's next stop lamplighter-domains.service is stopped before it, so that it"
            " finds only what Lamplighter left running)",
        )
        for name, link in links.items()
        if link is not None
    ]


def enabling_link(service: str, root: Path = Path("/")) -> Path | None:
    """Return the link that starts a service with the host; None if there is none.

    A masked service is not started, nor one whose links are left over from a removed package.
    """
    unit = f"{service}.service"
    # What systemd generated from an init script stands for the script, which is looked up below.
    folders = (folder for folder in UNIT_FOLDERS if folder != "run/systemd/generator.late")
    files = (root / folder / unit for folder in folders)
    file = next((file for file in files if os.path.lexists(file)), None)
    if file is not None:
        if _is_null(file):
            return None
        # Another unit pulls this one in, by a link in its folder; earlier folders hide later ones.
        links: dict[str, Path] = {}
        for folder in UNIT_FOLDERS:
            for kind in ("wants", "requires", "upholds"):
                for wanting in sorted((root / folder).glob(f"*.{kind}")):
                    if os.path.lexists(wanting / unit):
                        links.setdefault(wanting.name, wanting / unit)
        return next((link for link in links.values() if not _is_null(link)), None)
    if not os.access(root / "etc/init.d" / service, os.X_OK):
        return None
    # By such a link an init script, as a generated unit, starts with the host.
    return min((root / "etc").glob(f"rc[2-5].d/S[0-9][0-9]{service}"), default=None)


def _is_null(path: Path) -> bool:
    """Return whether this file masks a unit: a link to /dev/null, or an empty file."""
    try:
        if path.is_symlink():
            return str(path.readlink()) == _NULL
        return path.stat().st_size == 0
    except OSError:
        return False
