"""XenStore watches: which connections get an event when a node changes.

A watch fires for its node and all nodes below it. Watches are indexed by path, and a change looks
up only its own path and those above it, so its cost does not depend on the number of watches. A
watch that was set with a relative path gets relative paths in its events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamplighter.embedded.xenstored.access import readable
from lamplighter.embedded.xenstored.tree import ROOT, parent_of
from lamplighter.errors import XenStoreError
from lamplighter.xenstore.paths import is_special

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamplighter.embedded.xenstored.operations import Change


class Watcher(Protocol):
    """The owner of watches: a domain's connection."""

    @property
    def domid(self) -> int:
        """The domain on whose behalf it watches."""

    def fired(self, path: str, token: bytes) -> None:
        """Take an event. It must not call the store, which is in the middle of an operation."""


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """One watch. ``cut`` is how many leading characters its events omit from an absolute path."""

    watcher: Watcher
    path: str
    token: bytes
    cut: int

    def fire(self, path: str) -> None:
        """Send the event that the watch's node, or one below it, changed."""
        self.watcher.fired(path[self.cut :], self.token)


class Watches:
    """All watches of all connections."""

    def __init__(self) -> None:
        self._by_path: dict[str, dict[Watch, None]] = {}
        self._by_watcher: dict[Watcher, dict[tuple[str, bytes], Watch]] = {}

    def count(self, watcher: Watcher) -> int:
        """Return how many watches a connection has."""
        return len(self._by_watcher.get(watcher, ()))

    def add(self, watcher: Watcher, path: str, token: bytes, cut: int) -> Watch:
        """Set a watch, which does not fire yet; EEXIST when the connection already has the same."""
        mine = self._by_watcher.setdefault(watcher, {})
        if (path, token) in mine:
            raise XenStoreError("EEXIST")
        watch = mine[path, token] = Watch(watcher, path, token, cut)
        self._by_path.setdefault(path, {})[watch] = None
        return watch

    def remove(self, watcher: Watcher, path: str, token: bytes) -> None:
        """Remove a watch; ENOENT when the connection does not have it."""
        watch = self._by_watcher.get(watcher, {}).pop((path, token), None)
        if watch is None:
            raise XenStoreError("ENOENT")
        self._forget(watch)

    def remove_all(self, watcher: Watcher) -> None:
        """Remove every watch of a connection."""
        for watch in self._by_watcher.pop(watcher, {}).values():
            self._forget(watch)

    def fire(self, changes: Iterable[Change]) -> None:
        """Send events to every watcher that may read the node."""
        for change in changes:
            path = change.path
            while True:
                for watch in tuple(self._by_path.get(path, ())):
                    if readable(change.grants, watch.watcher.domid):
                        watch.fire(change.path)
                if change.exact or path == ROOT or is_special(path):
                    break
                path = parent_of(path)

    def _forget(self, watch: Watch) -> None:
        here = self._by_path[watch.path]
        del here[watch]
        if not here:
            del self._by_path[watch.path]
