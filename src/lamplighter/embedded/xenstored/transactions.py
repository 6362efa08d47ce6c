"""Transactions: a private snapshot of the tree that is committed completely or not at all.

As in the C xenstored, the snapshot of a node dates from the first access to it, whether it existed
or not. At the commit all accessed nodes must be unchanged, judged by their generations; otherwise
nothing is changed and the answer is EAGAIN. A node lists its children, so two transactions that
create different nodes below the same parent conflict, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamplighter.embedded.xenstored.operations import Change
from lamplighter.embedded.xenstored.tree import ABSENT, Node, Tree, View, parent_of
from lamplighter.errors import StoreConflict, XenStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamplighter.embedded.xenstored.access import Permissions
    from lamplighter.embedded.xenstored.operations import Actor


@dataclass(slots=True)
class _Touched:
    """A node in the snapshot: its present state, and its state at the first access."""

    node: Node | None
    generation: int
    before: Permissions | None
    modified: bool = False


class Transaction(View):
    """One transaction, from its start to its end."""

    def __init__(self, tree: Tree, actor: Actor) -> None:
        self._tree = tree
        self._actor = actor
        self._touched: dict[str, _Touched] = {}
        self._gained: Counter[int] = Counter()
        self._events: dict[str, bool] = {}  # path: exact

    def find(self, path: str) -> Node | None:
        """Return a node of the snapshot, or None; either is checked again at the commit."""
        return self._touch(path).node

    def change(self, path: str) -> Node:
        """Return the snapshot's own copy of a node."""
        touched = self._touch(path)
        assert touched.node is not None, "only an existing node can be changed"
        if not touched.modified:
            touched.node, touched.modified = touched.node.copy(), True
        touched.node.generation = self._tree.next_generation()
        return touched.node

    def put(self, path: str, node: Node) -> None:
        """Add a node to the snapshot."""
        touched = self._touch(path)
        node.generation = self._tree.next_generation()
        touched.node, touched.modified = node, True
        self._gained[node.owner] += 1

    def drop(self, path: str) -> None:
        """Remove a node from the snapshot."""
        touched = self._touch(path)
        assert touched.node is not None, "only an existing node can be dropped"
        self._gained[touched.node.owner] -= 1
        touched.node, touched.modified = None, True

    def grant(self, path: str, permissions: Permissions) -> None:
        """Change the permissions of a node of the snapshot."""
        node = self.change(path)
        self._gained[node.owner] -= 1
        node.permissions = permissions
        self._gained[node.owner] += 1

    def owned_by(self, domid: int) -> int:
        """Return how many nodes a domain would own if the transaction were committed now."""
        return self._tree.owned_by(domid) + self._gained[domid]

    def queue(self, changes: Iterable[Change]) -> None:
        """Record the events for the commit: one per node, ``exact`` only if all of them are."""
        for change in changes:
            self._events[change.path] = self._events.get(change.path, True) and change.exact

    def commit(self) -> list[Change]:
        """Apply the snapshot to the tree; return the changes for which watches fire."""
        for path, touched in self._touched.items():
            now = self._tree.find(path)
            if touched.generation != (ABSENT if now is None else now.generation):
                raise StoreConflict
        domid = self._actor.domid
        if self._actor.limited and self.owned_by(domid) > self._actor.quotas.nodes:
            raise XenStoreError("ENOSPC", "too many nodes")
        for path, touched in self._touched.items():
            if touched.modified and touched.node is not None:
                self._tree.put(path, touched.node)
            elif touched.modified and touched.generation != ABSENT:
                self._tree.drop(path)
        changes = []
        for path, exact in self._events.items():
            grants = [self._touched[path].before]
            node = self._tree.find(path)
            if node is not None:
                parent = self._tree.find(parent_of(path))
                grants += [node.permissions, parent.permissions if parent else None]
            changes.append(Change(path, exact, tuple(each for each in grants if each is not None)))
        return changes

    def _touch(self, path: str) -> _Touched:
        touched = self._touched.get(path)
        if touched is None:
            if self._actor.limited and len(self._touched) >= self._actor.quotas.touched:
                raise XenStoreError("ENOSPC", "a transaction over too many nodes")
            node = self._tree.find(path)
            if node is None:
                touched = _Touched(None, ABSENT, None)
            else:
                node.shared = True
                touched = _Touched(node, node.generation, node.permissions)
            self._touched[path] = touched
        return touched
