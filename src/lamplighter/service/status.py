"""Gathers what ``lamplighter status`` shows: definitions, the listing, agents and the monitor.

It takes no lock and waits for no run. When the host cannot be read, the domains that the files
define are returned with an ``error``. A monitor that runs is asked for the last event of each
domain; nothing depends on it.
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
    from collections.abc import Sequence

    from lamplighter.model.domain_event import DomainEvent, MonitorState
    from lamplighter.model.intent import Intent
    from lamplighter.model.policy import Configuration, Inventory


class Snapshot(NamedTuple):
    """What could be read; ``error`` is why the host could not be, or None.

    ``watched`` is None when no monitor answers. ``learned`` are the intents that the next run will
    learn from the listing.
    """

    inventory: Inventory
    view: View
    boot_id: str
    error: LamplighterError | None = None
    watched: MonitorState | None = None
    learned: Sequence[Intent] = ()


async def gather(configuration: Configuration) -> Snapshot:
    """Read everything once; raise ``LamplighterError`` only where the files cannot be read."""
    watched = ask_monitor(Path(configuration.host.run.value))
    try:
        async with open_host(configuration) as host:
            inventory, boot_id = host.inventory, host.boot_id
            try:
                domains = await host.toolstack.list()
                domids = [one.domid for one in domains if one.domid != DOM0 and one.running]
                guests = [GuestChannel(host.xenstore, domid) for domid in domids]
                async with host.xenstore.within(timing.XENSTORE_TIME):
                    protected = await host.protected()
                    features, reports = await asyncio.gather(
                        asyncio.gather(*(guest.poweroff_supported() for guest in guests)),
                        asyncio.gather(*(guest.words() for guest in guests)),
                    )
            except Unreachable as error:
                return Snapshot(inventory, View(None), boot_id, error, watched)
            except CallFailed as error:
                unread = ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "try again when the toolstack answers",
                )
                return Snapshot(inventory, View(None), boot_id, unread, watched)
            not_advertised = {
                domid for domid, one in zip(domids, features, strict=True) if one is None
            }
            words = {domid: one for domid, one in zip(domids, reports, strict=True) if one}
            events: dict[str, DomainEvent] = {}
            if watched is not None and watched.boot_id == boot_id:
                events = {event.name: event for event in watched.domain_events}
            unpause = host.toolstack.by_hand.unpause
            view = View(domains, not_advertised, protected, events, words, unpause)
            learned = await find_intents(host, domains, read_intents(configuration))
            return Snapshot(inventory, view, boot_id, None, watched, learned)
    except Unreachable as error:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        return Snapshot(inventory, View(None), "", error, watched)
