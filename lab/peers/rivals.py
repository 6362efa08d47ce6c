"""The tools that are compared: how each is set up on a host, and how it starts and stops guests.

All use the same definitions and wait as long for a guest that does not go. Otherwise they are as
Debian ships them, but for xendomains' habit to save what it is to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.dom0 import CONSOLES, DEFINITIONS, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.dom0 import Dom0

#: Seconds that each of them waits for a guest.
PATIENCE = 20

CONFIGURATION = f"""
[defaults]
start = "always"
start_timeout = "{PATIENCE}s"
stop_timeout = "{PATIENCE}s"
"""

XENDOMAINS = f"""\
XENDOMAINS_SAVE=
XENDOMAINS_RESTORE=
XENDOMAINS_AUTO=/etc/xen/auto
XENDOMAINS_STOP_MAXWAIT={PATIENCE}
"""

LIBVIRT_GUESTS = f"""\
URIS=xen:///system
ON_BOOT=start
ON_SHUTDOWN=shutdown
SHUTDOWN_TIMEOUT={PATIENCE}
"""
LIBVIRT_LIST = "/var/lib/libvirt/libvirt-guests"


@dataclass(frozen=True)
class Rival:
    """``start`` and ``stop`` are shell lines; ``prepare`` comes before each start, untimed."""

    name: str
    prepare: Callable[[Dom0, Sequence[str]], None]
    start: str
    stop: str


def _lamplighter(host: Dom0, names: Sequence[str]) -> None:
    host.configure(CONFIGURATION)


def _xendomains(host: Dom0, names: Sequence[str]) -> None:
    host.put("/etc/default/xendomains", XENDOMAINS)
    host.run(f"mkdir -p /etc/xen/auto && ln -sf {DEFINITIONS}/*.cfg /etc/xen/auto/")


def _libvirt_guests(host: Dom0, names: Sequence[str]) -> None:
    """It starts what ran at its last stop, of which it keeps a list."""
    host.put("/etc/default/libvirt-guests", LIBVIRT_GUESTS)
    host.run("systemctl start libvirtd", timeout=120)
    host.run(
        f"for each in {DEFINITIONS}/*.cfg; do"
        " virsh -q -c xen:///system domxml-from-native xen-xl $each >/tmp/domain.xml"
        " && virsh -q -c xen:///system define /tmp/domain.xml || exit 1; done >/dev/null",
        timeout=400,
    )
    host.put(LIBVIRT_LIST, f"xen:///system {' '.join(map(identity_of, names))}\n")


def _nothing(host: Dom0, names: Sequence[str]) -> None:
    host.run(f"rm -f {CONSOLES}/guest-*.log")


#: A script of SysV's init that is called by hand hands over to systemctl, unless this is set.
BY_HAND = "SYSTEMCTL_SKIP_REDIRECT=1 "

LAMPLIGHTER = Rival("lamplighter", _lamplighter, "lamplighter up", "lamplighter down")
RIVALS = {
    rival.name: rival
    for rival in (
        LAMPLIGHTER,
        Rival(
            "xendomains",
            _xendomains,
            f"{BY_HAND}/etc/init.d/xendomains start",
            f"{BY_HAND}/etc/init.d/xendomains stop",
        ),
        Rival(
            "libvirt-guests",
            _libvirt_guests,
            "/usr/lib/libvirt/libvirt-guests.sh start",
            "/usr/lib/libvirt/libvirt-guests.sh stop",
        ),
        Rival(
            "xl",
            _nothing,
            f"for each in {DEFINITIONS}/*.cfg; do xl create -q $each; done",
            "xl shutdown -a -w",
        ),
    )
}
