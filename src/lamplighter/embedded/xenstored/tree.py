"""The tree of XenStore nodes, and the interface that it shares with transactions.

``View`` is what the operations (``operations.py``) work on: the tree itself, or a transaction's
snapshot of it. Nodes are found by their whole path, so nothing here walks from the root.

Every change gives a node a new *generation*, a number that is never reused; a transaction uses it
to detect that a node it accessed has changed. A node that a transaction has accessed is
``shared``: the tree replaces it instead of changing it, so the transaction keeps what it read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from lamplighter.embedded.xenstored.access import Permissions

ROOT = "/"

#: The generation of a node that does not exist.
ABSENT = -1


@dataclass(slots=True)
class Node:
    """One node. ``children`` are names, in the order of their creation."""

    permissions: Permissions
    value: bytes = b""
    children: dict[str, None] = field(default_factory=dict)
    generation: int = ABSENT
    shared: bool = False

    @property
    def owner(self) -> int:
        """The domid of the node's owner."""
        return self.permissions[0].domid

    def copy(self) -> Node:
        """Return a copy that may be changed."""
        return Node(self.permissions, self.value, self.children.copy(), self.generation)


def parent_of(path: str) -> str:
    """Return the path of the parent; for special nodes and the root itself, the root."""
    cut = path.rfind("/")
    return path[:cut] if cut > 0 else ROOT


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return path[path.rfind("/") + 1 :]


def child_of(path: str, name: str) -> str:
    """Return the path of a child."""
    return f"/{name}" if path == ROOT else f"{path}/{name}"


class View(ABC):
    """The tree, or a transaction's snapshot of it."""

    @abstractmethod
    def find(self, path: str) -> Node | None:
        """Return a node, which must not be changed, or None if there is none."""

    @abstractmethod
    def change(self, path: str) -> Node:
        """Return an existing node, which the caller changes at once."""

    @abstractmethod
    def put(self, path: str, node: Node) -> None:
        """Add a new node; the caller updates the parent's children."""

    @abstractmethod
    def drop(self, path: str) -> None:
        """Remove an existing node; the caller updates the parent's children."""

    @abstractmethod
    def grant(self, path: str, permissions: Permissions) -> None:
        """Change an existing node's permissions, and maybe its owner."""

    @abstractmethod
    def owned_by(self, domid: int) -> int:
        """Return how many nodes a domain owns."""


class Tree(View):
    """All nodes."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._owned: dict[int, dict[str, None]] = {}
        self._generation = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def next_generation(self) -> int:
        """Return a number that was never used before."""
        self._generation += 1
        return self._generation

    def find(self, path: str) -> Node | None:
        """Return a node, which must not be changed, or None if there is none."""
        return self._nodes.get(path)

    def change(self, path: str) -> Node:
        """Return an existing node, which the caller changes at once."""
        node = self._nodes[path]
        if node.shared:
            node = self._nodes[path] = node.copy()
        node.generation = self.next_generation()
        return node

    def put(self, path: str, node: Node) -> None:
        """Add a node, or replace an existing one."""
        before = self._nodes.get(path)
        if before is not None and before.owner != node.owner:
            del self._owned[before.owner][path]
        self._nodes[path] = node
        self._owned.setdefault(node.owner, {})[path] = None
        node.generation = self.next_generation()

    def drop(self, path: str) -> None:
        """Remove an existing node; the caller updates the parent's children."""
        node = self._nodes.pop(path)
        of_owner = self._owned[node.owner]
        del of_owner[path]
        if not of_owner:
            del self._owned[node.owner]

    def grant(self, path: str, permissions: Permissions) -> None:
        """Change an existing node's permissions, and maybe its owner."""
        node = self._nodes[path].copy()
        node.permissions = permissions
        self.put(path, node)

    def owned_by(self, domid: int) -> int:
        """Return how many nodes a domain owns."""
        return len(self._owned.get(domid, ()))

    def paths_of(self, domid: int) -> Collection[str]:
        """Return the paths of the nodes a domain owns."""
        return self._owned.get(domid, {}).keys()

    def faults(self) -> list[str]:
        """Return the inconsistencies of the tree; there should never be any."""
        found = []
        for path, node in self._nodes.items():
            if path not in self._owned.get(node.owner, {}):
                found.append(f"{path} is not counted for its owner")
            found += [
                f"{path} lists {name}, which does not exist"
                for name in node.children
                if child_of(path, name) not in self._nodes
            ]
            if path.startswith("/") and path != ROOT:
                parent = self._nodes.get(parent_of(path))
                if parent is None or name_of(path) not in parent.children:
                    found.append(f"{path} is not listed by its parent")
        if sum(map(len, self._owned.values())) != len(self._nodes):
            found.append("more nodes are counted than exist")
        return found
