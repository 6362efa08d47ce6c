"""Finds the domain that an administrator names, by name or UUID: the one place that compares them.

A domain is known to the files (by its definition, or a problem that blocks it) or to the toolstack.
Names are compared as they are, UUIDs in any case. Holds, the journal and the event log also speak
of domains that nobody knows any more: there a name is not looked up but compared with what is
stored, in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import UsageError
from lamplighter.formats.suggest import did_you_mean
from lamplighter.model.domain import EMPTY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from uuid import UUID

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.intent import Hold
    from lamplighter.model.policy import Inventory
    from lamplighter.model.run import LastRecord


class DomainRef(NamedTuple):
    """A domain's name, and the key that intents and holds are kept under."""

    key: str
    name: str


def means(given: Collection[str], name: str, uuid: UUID | str | None) -> bool:
    """Return whether one of the given names or UUIDs means the domain with this name and UUID."""
    return name in given or (uuid is not None and str(uuid) in map(uuid_text, given))


def means_hold(given: str, hold: Hold) -> bool:
    """Return whether a name or UUID means the domain of this hold."""
    # A domain without a UUID is held under its name.
    return means((given,), hold.name, None if hold.domain == hold.name else hold.domain)


def uuid_text(given: str) -> str:
    """Return what is given in the form in which UUIDs are stored."""
    return given.lower()


def identify(
    inventory: Inventory,
    domains: Iterable[DomainInfo],
    last_records: Mapping[str, LastRecord] = EMPTY,
) -> Inventory:
    """Return the inventory with the incarnations of domains whose definitions state no UUID.

    ``last_records`` is what was last written of each domain since the host booted. A domain that
    was renamed while it runs is still that domain: to create another one would be to run two over
    the same disks. One that has ended counts only where no domain has the name: it may be listed
    beside its successor.
    """
    domains = tuple(domains)
    names = {one.name for one in domains}
    running = {one.uuid for one in domains if one.running}
    listed = {one.uuid for one in domains}
    known = dict(inventory.domains)
    for name, managed in inventory.domains.items():
        definition, last = managed.definition, last_records.get(name)
        if definition.uuid is not None:
            continue
        parts = (last.result, last.moved) if last is not None else ()
        on_record = (definition.incarnation, *(part.uuid for part in parts if part is not None))
        candidates = running if name in names else listed
        uuid = next((one for one in on_record if one in candidates), None)
        if uuid != definition.incarnation:
            known[name] = managed._replace(definition=definition._replace(incarnation=uuid))
    return inventory._replace(domains=known)


def find(given: str, inventory: Inventory, listed: Iterable[DomainInfo] = ()) -> DomainRef:
    """Return the domain that a name or UUID means; raise ``UsageError`` when nobody knows it.

    The files come first: a listed domain counts only where no file has the name, or where it is
    named by a UUID that its file does not state.
    """
    for name, managed in inventory.domains.items():
        if means((given,), name, managed.definition.uuid):
            return DomainRef(managed.definition.key, name)
    if given in inventory.blocked:
        return DomainRef(given, given)
    labels = {*inventory.domains, *inventory.blocked}
    for one in listed:
        if given and means((given,), one.name, one.uuid):
            for name, managed in inventory.domains.items():
                if managed.definition.matches(one):
                    return DomainRef(managed.definition.key, name)
            return DomainRef(str(one.uuid), one.name or given)
        labels |= {one.name} - {""}
    hint = did_you_mean(given, labels, "lamplighter status lists them all")
    raise UsageError(f"there is no domain {given!r}", hint=hint)
