"""Operations on XenStore nodes on behalf of a domain, as in the C xenstored.

Each operation works on a ``View`` and either succeeds or raises ``XenStoreError`` and changes
nothing. Operations that change something return the ``Change``s for which watches must fire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.embedded.xenstored.access import (
    DOM0,
    OVERHEAD,
    OWN,
    READ,
    WRITE,
    inherited,
    rights,
)
from lamplighter.embedded.xenstored.tree import ROOT, Node, child_of, name_of, parent_of
from lamplighter.errors import XenStoreError

if TYPE_CHECKING:
    from lamplighter.embedded.xenstored.access import Permissions, Quotas
    from lamplighter.embedded.xenstored.tree import View


class Change(NamedTuple):
    """A node changed. ``exact``: only watches on this very node fire, not those above it.

    ``grants`` are the permissions of the node, those it had before, and its parent's: a watcher
    gets the event if any of them lets it read.
    """

    path: str
    exact: bool
    grants: tuple[Permissions, ...]


class Actor(NamedTuple):
    """The domain on whose behalf an operation is done, and its quotas."""

    domid: int
    quotas: Quotas

    @property
    def limited(self) -> bool:
        """Whether the quotas apply: they do not for the control domain."""
        return self.domid != DOM0


def read(view: View, actor: Actor, path: str) -> Node:
    """Return a node if the actor may read it."""
    return _seek(view, actor, path, READ)


def write(view: View, actor: Actor, path: str, value: bytes) -> list[Change]:
    """Set a node's value, creating the node and its parents if they are missing."""
    node = _seek_or_none(view, actor, path, WRITE)
    if node is None:
        return _make(view, actor, path, value)
    _check_size(actor, node, len(value) - len(node.value))
    view.change(path).value = value
    return [_change(view, path)]


def mkdir(view: View, actor: Actor, path: str) -> list[Change]:
    """Create an empty node; an existing one is left as it is."""
    if _seek_or_none(view, actor, path, WRITE) is not None:
        return []
    return _make(view, actor, path, b"")


def rm(view: View, actor: Actor, path: str) -> list[Change]:
    """Remove a node and all below it; a missing node is not an error if its parent exists."""
    if _seek_or_none(view, actor, path, WRITE) is None:
        if view.find(parent_of(path)) is None:
            raise XenStoreError("ENOENT")
        return []
    if path == ROOT:
        raise XenStoreError("EINVAL", "the root cannot be removed")
    return remove(view, path)


def remove(view: View, path: str) -> list[Change]:
    """Remove an existing node and all below it, regardless of their owners."""
    del view.change(parent_of(path)).children[name_of(path)]
    found: list[str] = []  # parents before their children
    stack = [path]
    while stack:
        each = stack.pop()
        node = view.find(each)
        assert node is not None, "a node lists only children that exist"
        found.append(each)
        stack += [child_of(each, name) for name in node.children]
    found.reverse()  # events are sent, and nodes removed, from the leaves up
    changes = [_change(view, each, exact=each != path) for each in found]
    for each in found:
        view.drop(each)
    return changes


def set_permissions(view: View, actor: Actor, path: str, granted: Permissions) -> list[Change]:
    """Replace a node's permissions; only its owner may, and only dom0 may change the owner."""
    if actor.limited and len(granted) > actor.quotas.permissions:
        raise XenStoreError("ENOSPC", "too many permissions")
    node = _seek(view, actor, path, WRITE | OWN)
    if actor.limited and granted[0].domid != node.owner:
        raise XenStoreError("EPERM", "a guest cannot give a node away")
    before = node.permissions
    view.grant(path, granted)
    change = _change(view, path)
    return [change._replace(grants=(*change.grants, before))]


# --- looking up ------------------------------------------------------------------------------


def _seek(view: View, actor: Actor, path: str, wanted: int) -> Node:
    node = view.find(path)
    if node is not None and rights(node.permissions, actor.domid) & wanted == wanted:
        return node
    # A domain without rights to the nearest existing ancestor does not learn if the node exists.
    parent = None
    while parent is None:
        path = parent_of(path)
        parent = view.find(path)
    if node is None and rights(parent.permissions, actor.domid) & wanted:
        raise XenStoreError("ENOENT")
    raise XenStoreError("EACCES")


def _seek_or_none(view: View, actor: Actor, path: str, wanted: int) -> Node | None:
    try:
        return _seek(view, actor, path, wanted)
    except XenStoreError as error:
        if error.name == "ENOENT":
            return None
        raise


# --- creating --------------------------------------------------------------------------------


def _make(view: View, actor: Actor, path: str, value: bytes) -> list[Change]:
    missing = [path]
    while (parent := view.find(parent_of(missing[-1]))) is None:
        missing.append(parent_of(missing[-1]))
    if actor.limited and view.owned_by(actor.domid) + len(missing) > actor.quotas.nodes:
        raise XenStoreError("ENOSPC", "too many nodes")
    _check_size(actor, parent, len(name_of(missing[-1])) + 1)
    granted = inherited(parent.permissions, actor.domid)
    _check_size(actor, Node(granted), len(value))
    view.change(parent_of(missing[-1])).children[name_of(missing[-1])] = None
    for below, each in zip([None, *missing], missing, strict=False):
        children = {name_of(below): None} if below else {}
        view.put(each, Node(granted, b"" if below else value, children))
    return [_change(view, path)]


def _check_size(actor: Actor, node: Node, more: int) -> None:
    if not actor.limited:
        return
    size = OVERHEAD + len(node.value) + sum(len(name) + 1 for name in node.children)
    if size + more > actor.quotas.node_size:
        raise XenStoreError("ENOSPC", "a node too large")


def _change(view: View, path: str, *, exact: bool = False) -> Change:
    lists = (view.find(path), view.find(parent_of(path)))
    return Change(path, exact, tuple(node.permissions for node in lists if node is not None))
