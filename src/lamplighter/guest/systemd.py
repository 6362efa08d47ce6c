"""Communicates with systemd as the guest's init: reports the agent's state, finds the shutdown."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from lamplighter.formats.sd_notify import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

#: This folder exists if, and only if, systemd is the init (sd_booted(3)).
RUNS = "/run/systemd/system"

#: The targets that end the system; kexec starts the next kernel without the machine's help. A
#: soft-reboot is not among them: the kernel stays, and with it the domain.
ENDS = {
    "poweroff.target": "poweroff",
    "reboot.target": "reboot",
    "kexec.target": "reboot",
    "halt.target": "halt",
}


def systemd_runs(path: str = RUNS) -> bool:
    """Return whether systemd is the init of this system."""
    return os.path.isdir(path)


def notify(environment: Mapping[str, str], *, ready: bool = False, status: str = "") -> None:
    """Notify systemd if it asks for that (``NOTIFY_SOCKET``); errors are ignored."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(encode(ready=ready, status=status or None), address)


def find_end(jobs: str) -> str | None:
    """Return the shutdown in the output of ``systemctl list-jobs``; None: the system stays up."""
    for line in jobs.splitlines():
        words = line.split()
        for target, request in ENDS.items():
            if target in words and "start" in words[words.index(target) :]:
                return request
    return None
