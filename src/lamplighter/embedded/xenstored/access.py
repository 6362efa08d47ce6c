"""Who may do what with a node, as xenstored decides it.

A node's first permission names its owner and what everybody may do whom no later one names. The
owner and the control domain may do everything. A node that is made takes its parent's permissions;
when a guest makes it, the guest owns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.xenstore.permissions import Access, Permission

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
