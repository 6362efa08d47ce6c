"""The agent's nodes in XenStore: what it reports to the host, for the daemon and the commands.

After a migration or a restore the guest's nodes are gone, together with its old domain. So the
daemon calls ``renew`` whenever a watch fires: if the version is missing, all nodes are written
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.formats.agent_protocol import GUEST_NODES
from lamplighter.xenstore.paths import AGENT

if TYPE_CHECKING:
    from lamplighter.guest.log import Log
    from lamplighter.guest.xenbus import Bus

VERSION = "version"

#: The nodes that are written during a shutdown and are only valid for it.
PASSING = ("progress", "more", "forced")


def node(name: str) -> str:
    """Return the path of a node of the protocol, relative to the guest's own domain."""
    return f"{AGENT}/{name}"


class AgentNodes:
    """The values of the agent's nodes, kept so that they can be written again."""

    def __init__(self, version: bytes, log: Log) -> None:
        self._values = {VERSION: version}
        self._log = log
        self._refused: set[str] = set()

    def report(self, bus: Bus | None, name: str, value: bytes) -> None:
        """Write a node now, if there is a ``bus``, and whenever all nodes are written again."""
        self._values[name] = value
        if bus is not None:
            self._write(bus, name, value)

    def renew(self, bus: Bus) -> bool:
        """Write all nodes again if the version is missing; return whether it was."""
        try:
            if bus.read(node(VERSION)) is not None:
                return False
        except XenStoreError as error:
            self._refuse(VERSION, error)
            return False
        self.write_all(bus)
        return True

    def write_all(self, bus: Bus) -> None:
        """Write all nodes. The version comes last: it shows that the others are this agent's."""
        for name in sorted(self._values, key=lambda name: name == VERSION):
            self._write(bus, name, self._values[name])

    def remove_shutdown_nodes(self, bus: Bus) -> None:
        """Remove the nodes of a shutdown that is over, such as one before a kexec."""
        for name in PASSING:
            path = node(name)
            try:
                bus.remove(path)
            except XenStoreError as error:
                self._log.warn(f"{path} cannot be removed: {error}")

    @staticmethod
    def remove_all(bus: Bus) -> None:
        """Remove all nodes: there is no agent any more. The version, which says there is, first."""
        for name in (VERSION, *(name for name in GUEST_NODES if name != VERSION)):
            bus.remove(node(name))

    def _write(self, bus: Bus, name: str, value: bytes) -> None:
        try:
            bus.write(node(name), value)
            self._refused.discard(name)
        except XenStoreError as error:
            self._refuse(name, error)

    def _refuse(self, name: str, error: XenStoreError) -> None:
        if name not in self._refused:
            self._refused.add(name)
            self._log.warn(f"{node(name)} cannot be written: {error}")
