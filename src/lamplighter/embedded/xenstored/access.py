"""Who may do what with a node, and how much of the store a guest may use, as xenstored decides it.

A node's first permission names its owner and what everybody else may do whom no later one names.
The owner and the control domain may do everything. A new node takes its parent's permissions; when
a guest makes it, the guest owns it.

The quotas and their errors are those of the C xenstored: too many nodes, transactions or
permissions, or a node too large, is ENOSPC; too many watches is E2BIG. (oxenstored answers
``EQUOTA``, a name that xs_wire.h does not have.) The control domain has no limits. One number
differs: a guest's node may hold a whole packet here, where xenstored allows 2048 bytes by default,
because a host may allow more, and the worst guest is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamplighter.xenstore.permissions import Access, Permission
from lamplighter.xenstore.wire import PAYLOAD_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The control domain, which is privileged.
DOM0 = 0

READ, WRITE, OWN = 1, 2, 4

ALL = READ | WRITE | OWN

_RIGHTS = {
    Access.NONE: 0,
    Access.READ: READ,
    Access.WRITE: WRITE,
    Access.BOTH: READ | WRITE,
}

Permissions = tuple[Permission, ...]

#: The control domain alone.
PRIVATE: Permissions = (Permission(Access.NONE, DOM0),)

#: What a node needs besides its value and the names below it, in bytes.
OVERHEAD = 24


def rights(granted: Permissions, domid: int) -> int:
    """Return what a domain may do with a node, as a sum of READ, WRITE and OWN."""
    if domid in (DOM0, granted[0].domid):
        return ALL
    for permission in granted[1:]:
        if permission.domid == domid:
            return _RIGHTS[permission.access]
    return _RIGHTS[granted[0].access]


def readable(lists: Iterable[Permissions], domid: int) -> bool:
    """Say whether any of several lists of permissions lets a domain read."""
    return any(rights(granted, domid) & READ for granted in lists)


def inherited(parent: Permissions, domid: int) -> Permissions:
    """Return the permissions of a node that a domain makes below a parent."""
    if domid == DOM0:
        return parent
    return (Permission(parent[0].access, domid), *parent[1:])


def read_only(domid: int) -> Permissions:
    """Return permissions under which a guest may only read."""
    return (Permission(Access.NONE, DOM0), Permission(Access.READ, domid))


def owned(domid: int) -> Permissions:
    """Return permissions under which a guest owns a node, and no other guest sees it."""
    return (Permission(Access.NONE, domid),)


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of one guest.

    ``node_size`` is in bytes: a node's value and the names of its children, with ``OVERHEAD``.
    ``touched`` is how many nodes one transaction may look at.
    """

    nodes: int = 1000
    watches: int = 128
    transactions: int = 10
    permissions: int = 5
    node_size: int = PAYLOAD_MAX + 64
    touched: int = 1024
