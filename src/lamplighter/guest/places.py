"""Where the agent finds things and leaves them; every place can be another one, for trials."""

from __future__ import annotations

from typing import NamedTuple

#: The kernel's device in which XenStore is spoken to, newest first.
DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")


class Paths(NamedTuple):
    """The agent's places.

    ``xenstore`` is a device or a Unix socket; empty: the first of ``DEVICES`` that is there.
    ``rehearse`` is a file into which is written what would be done to the system, instead of doing
    it; empty: it is done.
    """

    xenstore: str = ""
    etc: str = "/etc/lamplighter"
    run: str = "/run/lamplighter-agent"
    proc: str = "/proc"
    rehearse: str = ""

    @property
    def configuration(self) -> str:
        """What the guest's administrator decides."""
        return f"{self.etc}/agent.conf"

    @property
    def scripts(self) -> str:
        """What runs before the system's own shutdown."""
        return f"{self.etc}/shutdown.d"

    @property
    def checks(self) -> str:
        """What must succeed before the guest is ready."""
        return f"{self.etc}/ready.d"

    @property
    def hotline(self) -> str:
        """The daemon's socket."""
        return f"{self.run}/socket"

    @property
    def orders(self) -> str:
        """The pipe on which the guard takes orders."""
        return f"{self.run}/guard"

    @property
    def begun(self) -> str:
        """The names of the scripts that were begun since the system booted."""
        return f"{self.run}/begun"

    @property
    def answered(self) -> str:
        """The host's answers that were heard."""
        return f"{self.run}/answered"

    @property
    def taken(self) -> str:
        """The request that the agent took and whose shutdown it has still to begin."""
        return f"{self.run}/taken"
