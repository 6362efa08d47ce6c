"""The way to tell systemd something: its notification socket.

systemd names the socket to the processes of a unit that may speak for it. Where it names none,
nothing is sent. Nothing that goes wrong here may disturb what the process is really about, so
sending never raises and never waits; what must arrive is sent again.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from lamplighter.formats.sd_notify import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The environment variable in which systemd names the socket.
VARIABLE = "NOTIFY_SOCKET"


class Notifier:
    """Sends to the socket at ``address``: a path, or ``@name`` in the abstract namespace."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """Return the notifier of this process."""
        return cls(environ.get(VARIABLE, ""))

    @property
    def active(self) -> bool:
        """Whether systemd wants to hear from this process."""
        return bool(self._address)

    def send(self, *, status: str | None = None, extend: float | None = None) -> bool:
        """Tell the state in one line, or ask for ``extend`` more seconds; say whether it went."""
        if not self.active:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto(encode(status=status, extend=extend), self._address)
        except (OSError, ValueError):
            return False
        return True
