"""Gathering what ``lamplighter status`` shows: definitions, the listing, agents and the monitor.

It takes no lock and waits for no run. A host that cannot be read is an ``error`` beside the domains
that files know. A monitor that runs is asked what it saw last of each domain; nothing depends on
it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import timing
from lamplighter.engine.prepare import Found, learn
from lamplighter.engine.status import View
from lamplighter.errors import CallFailed, LamplighterError, ToolstackUnreachable, Unreachable
from lamplighter.host.journal.record import read_record
from lamplighter.host.monitor_socket import ask_monitor
from lamplighter.model.domain import DOM0
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.prepare import shutdown_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.formats.agent_protocol import AgentWords
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.domain_event import DomainEvent, MonitorState
    from lamplighter.model.policy import Configuration, Inventory
    from lamplighter.model.record import Record
    from lamplighter.service.managed_host import Host


class Snapshot(NamedTuple):
    """What could be seen; ``error`` is why the host could not be read, or None.

    ``record`` has the intents that the next run will have learned, too.
    """

    inventory: Inventory
    view: View
    record: Record
    error: LamplighterError | None = None
    monitor: MonitorState | None = None


async def gather(configuration: Configuration) -> Snapshot:
    """Ask the monitor, the toolstack and XenStore, and read the record; what failed is in it."""
    monitor = ask_monitor(Path(configuration.host.run.value))
    snapshot = await _look_at_host(configuration, monitor)
    return snapshot._replace(monitor=monitor)


async def _look_at_host(configuration: Configuration, watched: MonitorState | None) -> Snapshot:
    directory = Path(configuration.host.state.value)
    try:
        async with open_host(configuration) as host:
            try:
                domains = await host.toolstack.list()
                async with host.xenstore.within(timing.XENSTORE_TIME):
                    protected = await host.protected()
                    not_advertised, words = await _guests(host, domains)
                domain_events = _passages(watched, host.boot_id)
                unpause = host.toolstack.by_hand.unpause
                view = View(domains, not_advertised, protected, domain_events, words, unpause)
            except Unreachable as error:
                return Snapshot(
                    host.inventory, View(None), read_record(directory, host.boot_id), error
                )
            except CallFailed as error:
                unread = ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "try again when the toolstack answers",
                )
                return Snapshot(
                    host.inventory, View(None), read_record(directory, host.boot_id), unread
                )
            record = read_record(directory, host.boot_id)._replace(unfinished=())
            found = Found(host.inventory, domains, host.boot_id, host.clock.wall(), record)
            learned = learn(found, await shutdown_reasons(host, found))
            known = record._replace(intents=record.intents.updated(learned))
            return Snapshot(host.inventory, view, known)
    except Unreachable as error:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        return Snapshot(inventory, View(None), read_record(directory, ""), error)


def _passages(watched: MonitorState | None, boot_id: str) -> Mapping[str, DomainEvent]:
    """What the monitor saw last of each domain, by name; nothing if it is of another boot."""
    if watched is None or watched.boot_id != boot_id:
        return {}
    return {domain_event.name: domain_event for domain_event in watched.domain_events}


async def _guests(
    host: Host, domains: Sequence[DomainInfo]
) -> tuple[set[int], dict[int, AgentWords]]:
    """Return the domids whose kernel has not advertised itself, and what agents say, by domid."""
    domids = [seen.domid for seen in domains if seen.domid != DOM0 and seen.running]
    guests = [GuestChannel(host.xenstore, domid) for domid in domids]
    poweroff_supported, said = await asyncio.gather(
        asyncio.gather(*(guest.poweroff_supported() for guest in guests)),
        asyncio.gather(*(guest.words() for guest in guests)),
    )
    not_advertised = {
        domid for domid, word in zip(domids, poweroff_supported, strict=True) if word is None
    }
    return not_advertised, {
        domid: words for domid, words in zip(domids, said, strict=True) if words
    }
