"""Access rights to XenStore nodes and the quotas of guests, as in xenstored.

A node's first permission names its owner and the rights of every domain that no later permission
names. The owner and the control domain may do everything. A new node takes its parent's
permissions; if a guest creates it, the guest owns it.

The quotas and their errors are those of the C xenstored: too many nodes, transactions or
permissions, or a node too large, is ENOSPC; too many watches is E2BIG. (oxenstored answers
``EQUOTA``, a name that xs_wire.h does not have.) The control domain has no quotas. One number
differs: a guest's node may hold a whole packet here, where xenstored allows 2048 bytes by default,
because a host may allow more, and the simulation needs the worst possible guest.
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

#: Access for the control domain only.
PRIVATE: Permissions = (Permission(Access.NONE, DOM0),)

#: The size of a node besides its value and the names of its children, in bytes.
OVERHEAD = 24


def rights(granted: Permissions, domid: int) -> int:
    """Return a domain's rights to a node, as a combination of READ, WRITE and OWN."""
    if domid in (DOM0, granted[0].domid):
        return ALL
    for permission in granted[1:]:
        if permission.domid == domid:
            return _RIGHTS[permission.access]
    return _RIGHTS[granted[0].access]


def readable(lists: Iterable[Permissions], domid: int) -> bool:
    """Return whether any of several lists of permissions lets a domain read."""
    return any(rights(granted, domid) & READ for granted in lists)


def inherited(parent: Permissions, domid: int) -> Permissions:
    """Return the permissions of a node that a domain creates below a parent."""
    if domid == DOM0:
        return parent
    return (Permission(parent[0].access, domid), *parent[1:])


def read_only(domid: int) -> Permissions:
    """Return permissions that let a guest only read."""
    return (Permission(Access.NONE, DOM0), Permission(Access.READ, domid))


def owned(domid: int) -> Permissions:
    """Return permissions that make a guest the owner and give other guests no access."""
    return (Permission(Access.NONE, domid),)


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of one guest.

    ``node_size`` is in bytes: a node's value and the names of its children, plus ``OVERHEAD``.
    ``touched`` is how many nodes one transaction may access.
    """

    nodes: int = 1000
    watches: int = 128
    transactions: int = 10
    permissions: int = 5
    node_size: int = PAYLOAD_MAX + 64
    touched: int = 1024
