"""The agent's own words to the host: what it means to stand in XenStore, and whether it does.

After a migration or a restore the guest's nodes are gone with the domain that it was. Whoever is
woken calls ``renew``: where the version is missing, everything is written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.formats.agent_protocol import GUEST_NODES
from lamplighter.xenstore.paths import WORDS

if TYPE_CHECKING:
    from lamplighter.guest.log import Log
    from lamplighter.guest.xenbus import Bus

VERSION = "version"

#: What is said during a shutdown, and is over with it.
PASSING = ("progress", "more", "forced")


def node(name: str) -> str:
    """Return the path of a word, relative to the guest's own domain."""
    return f"{WORDS}/{name}"


class AgentNodes:
    """What the agent says."""

    def __init__(self, version: bytes, log: Log) -> None:
        self._said = {VERSION: version}
        self._log = log
        self._refused: set[str] = set()

    def say(self, bus: Bus | None, name: str, value: bytes) -> None:
        """Say something now and whenever it has to be said again."""
        self._said[name] = value
        if bus is not None:
            self._write(bus, name, value)

    def renew(self, bus: Bus) -> bool:
        """Say everything again if nothing stands there; return whether that was so."""
        try:
            if bus.read(node(VERSION)) is not None:
                return False
        except XenStoreError as error:
            self._refuse(VERSION, error)
            return False
        self.say_all(bus)
        return True

    def say_all(self, bus: Bus) -> None:
        """Say everything. The version comes last: it says that the rest is this agent's."""
        for name in sorted(self._said, key=lambda name: name == VERSION):
            self._write(bus, name, self._said[name])

    def take_back(self, bus: Bus) -> None:
        """Remove what was said in a shutdown that is over, such as one before a kexec."""
        for name in PASSING:
            self._remove(bus, name)

    @staticmethod
    def leave(bus: Bus) -> None:
        """Remove every word: there is no agent any more. It is the version that says there is."""
        for name in (VERSION, *(name for name in GUEST_NODES if name != VERSION)):
            bus.remove(node(name))

    def _remove(self, bus: Bus, name: str) -> None:
        try:
            bus.remove(node(name))
        except XenStoreError as error:
            self._log.warn(f"{node(name)} cannot be removed: {error}")

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
