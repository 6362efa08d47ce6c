"""Finds the domain that an administrator names, by name or UUID: the one place that compares them.

A domain is known to the files (by its definition, or a problem that blocks it) or to the toolstack.
Names are compared as they are, UUIDs in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import UsageError
from lamplighter.formats.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from uuid import UUID

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.policy import Inventory


class DomainRef(NamedTuple):
    """A domain's name, and the key that intents and holds are kept under."""

    key: str
    name: str


def means(given: Collection[str], name: str, uuid: UUID | None) -> bool:
    """Return whether one of the given names or UUIDs means the domain with this name and UUID."""
    return name in given or (uuid is not None and str(uuid) in {one.lower() for one in given})


def find(given: str, inventory: Inventory, listed: Iterable[DomainInfo] = ()) -> DomainRef:
    """Return the domain that a name or UUID means; raise ``UsageError`` when nobody knows it.

    The files come first: a listed domain counts only where no file has the name.
    """
    for name, managed in inventory.domains.items():
        if means((given,), name, managed.definition.uuid):
            return DomainRef(managed.definition.key, name)
    if given in inventory.blocked:
        return DomainRef(given, given)
    labels = {*inventory.domains, *inventory.blocked}
    for one in listed:
        if one.name and means((given,), one.name, one.uuid):
            return DomainRef(str(one.uuid), one.name)
        labels |= {one.name} - {""}
    near = closest(given, labels)
    hint = f"did you mean {near}?" if near else "lamplighter status lists them all"
    raise UsageError(f"there is no domain {given!r}", hint=hint)
