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
from lamplighter.engine.status import View
from lamplighter.errors import CallFailed, LamplighterError, ToolstackUnreachable, Unreachable
from lamplighter.host.monitor_socket import ask_monitor
from lamplighter.model.domain import DOM0
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.intents import find_intents, read_intents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.formats.agent_protocol import AgentWords
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.domain_event import DomainEvent, MonitorState
    from lamplighter.model.intent import Intent
    from lamplighter.model.policy import Configuration, Inventory
    from lamplighter.service.managed_host import Host


class Snapshot(NamedTuple):
    """What could be seen; ``error`` is why the host could not be read, or None.

    ``learned`` is what the next run will learn from it.
    """

    inventory: Inventory
    view: View
    boot_id: str
    error: LamplighterError | None = None
    watched: MonitorState | None = None
    learned: Sequence[Intent] = ()


async def gather(configuration: Configuration) -> Snapshot:
    watched = ask_monitor(Path(configuration.host.run.value))
    look = await _look_at_host(configuration, watched)
    return look._replace(watched=watched)


async def _look_at_host(configuration: Configuration, watched: MonitorState | None) -> Snapshot:
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
                return Snapshot(host.inventory, View(None), host.boot_id, error)
            except CallFailed as error:
                unread = ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "try again when the toolstack answers",
                )
                return Snapshot(host.inventory, View(None), host.boot_id, unread)
            learned = await find_intents(host, domains, read_intents(configuration))
            return Snapshot(host.inventory, view, host.boot_id, learned=learned)
    except Unreachable as error:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        return Snapshot(inventory, View(None), "", error)


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
