"""Finds a domain's newest incarnation, and its kind, in XenStore without a listing.

libxl writes these nodes, and no guest may write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.model.domain import Kind
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.model.domain import Definition


async def newest_domid(xenstore: XenStore, definition: Definition) -> int | None:
    """Return the highest domid of this domain; None: XenStore has none.

    The newest domids come first, so one that has just been created costs a read or two, however
    many domains there are. Raises ``XenStoreError`` and ``XenStoreUnreachable``.
    """
    names = await xenstore.directory(paths.DOMAINS)
    for domid in sorted(map(int, filter(str.isdecimal, names)), reverse=True):
        if definition.uuid is not None:
            vm = await xenstore.read_or_none(paths.vm(domid))
            found = vm == f"/vm/{definition.uuid}".encode()
        else:
            found = await xenstore.read_or_none(paths.name(domid)) == definition.name.encode()
        if found:
            return domid
    return None


async def kind_of(xenstore: XenStore, domid: int) -> Kind | None:
    """Return how an incarnation is virtualised; None: XenStore does not have it."""
    value = await xenstore.read_or_none(paths.kind(domid))
    return next((kind for kind in Kind if kind.value.encode() == value), None)
