"""The domain that an administrator names: from the files, or else from what runs.

A word about a domain must be possible when nothing can be seen of the host, so the files come
first, and the toolstack is asked only about a name that no file has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import CallFailed, Unreachable, UsageError
from lamplighter.formats.suggest import closest
from lamplighter.model.domain import DOM0
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host

if TYPE_CHECKING:
    from lamplighter.model.policy import Configuration, Inventory


class DomainRef(NamedTuple):
    """A domain's name, and the key that intent is kept under."""

    key: str
    name: str


async def find_domain(given: str, configuration: Configuration) -> DomainRef:
    """Return the domain of this name or UUID; raise ``UsageError`` when nobody knows it."""
    inventory = load_inventory(configuration, owner=definition_owner(configuration))
    named = _in_files(given, inventory)
    if named is not None:
        return named
    running = await _running(configuration)
    for one in running:
        if given == one.name or given.lower() == one.key:
            return one
    known = {*inventory.domains, *inventory.blocked, *(one.name for one in running)}
    near = closest(given, known)
    hint = f"did you mean {near}?" if near else "lamplighter status lists them all"
    raise UsageError(f"there is no domain {given!r}", hint=hint)


def _in_files(given: str, inventory: Inventory) -> DomainRef | None:
    for name, managed in inventory.domains.items():
        if given == name or given.lower() == str(managed.definition.uuid):
            return DomainRef(managed.definition.key, name)
    return DomainRef(given, given) if given in inventory.blocked else None


async def _running(configuration: Configuration) -> list[DomainRef]:
    """What runs and has a name; nothing when that cannot be seen."""
    try:
        async with open_host(configuration) as host:
            listed = await host.toolstack.list()
    except (CallFailed, Unreachable):
        return []
    return [
        DomainRef(str(seen.uuid), seen.name) for seen in listed if seen.name and seen.domid != DOM0
    ]
