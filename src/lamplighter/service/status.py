"""Gathers what ``lamplighter status`` shows: definitions, the listing, agents and the monitor.

It takes no lock and waits for no run. When the host cannot be read, the domains that the files
define are returned with an ``error``. A monitor that runs is asked for the last event of each
domain; nothing depends on it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine import intent, timing
from lamplighter.engine.naming import identify
from lamplighter.engine.status import View
from lamplighter.errors import CallFailed, LamplighterError, ToolstackUnreachable, Unreachable
from lamplighter.host.journal.record import read_record
from lamplighter.host.monitor_socket import ask_monitor
from lamplighter.model.domain import DOM0
from lamplighter.model.record import Found
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host, shutdown_reason

if TYPE_CHECKING:
    from lamplighter.model.domain_event import DomainEvent, MonitorState
    from lamplighter.model.policy import Configuration, Inventory
    from lamplighter.model.record import Record


@dataclass(eq=False, repr=False)  # asyncio.run makes a text of what it returns
class Snapshot:
    """What could be read; ``error`` is why the host could not be, or None.

    ``record`` has the intents that the next run will have learned, too. ``monitor`` is None when no
    monitor answers.
    """

    inventory: Inventory
    view: View
    record: Record
    error: LamplighterError | None = None
    monitor: MonitorState | None = None


async def gather(configuration: Configuration) -> Snapshot:
    """Read everything once; raise ``LamplighterError`` only where the files cannot be read."""
    monitor = ask_monitor(Path(configuration.host.run.value))
    try:
        async with open_host(configuration) as host:
            inventory, boot_id = host.inventory, host.boot_id
            try:
                domains = await host.toolstack.list()
                domids = [one.domid for one in domains if one.domid != DOM0 and one.running]
                guests = [GuestChannel(host.xenstore, domid) for domid in domids]
                async with host.xenstore.within(timing.XENSTORE_TIME):
                    protected = await host.protected(domains)
                    features, reports = await asyncio.gather(
                        asyncio.gather(*(guest.poweroff_supported() for guest in guests)),
                        asyncio.gather(*(guest.report() for guest in guests)),
                    )
            except Unreachable as error:
                record = read_record(configuration.host, boot_id)
                return Snapshot(inventory, View(None), record, error, monitor)
            except CallFailed as error:
                unread = ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "try again when the toolstack answers",
                )
                record = read_record(configuration.host, boot_id)
                return Snapshot(inventory, View(None), record, unread, monitor)
            not_advertised = {
                domid for domid, one in zip(domids, features, strict=True) if one is None
            }
            by_domid = {domid: one for domid, one in zip(domids, reports, strict=True) if one}
            last_events: dict[str, DomainEvent] = {}
            if monitor is not None and monitor.boot_id == boot_id:
                last_events = {event.name: event for event in monitor.last_events}
            unpause = host.toolstack.by_hand.unpause
            view = View(domains, not_advertised, protected, last_events, by_domid, unpause)
            record = read_record(configuration.host, boot_id)
            inventory = identify(inventory, domains, record.last)
            # A run that has not ended may be alive: what it did is not for this command to judge.
            found = Found(
                inventory, domains, boot_id, host.clock.wall(), record._replace(unfinished=())
            )
            gone = intent.gone_unasked(found, record.last)
            reasons = {info.domid: await shutdown_reason(host, info) for info in gone}
            learned = intent.learned(found, record.last, reasons)
            record = record._replace(intents=record.intents.updated(learned))
            return Snapshot(inventory, view, record, None, monitor)
    except Unreachable as error:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        return Snapshot(inventory, View(None), read_record(configuration.host, ""), error, monitor)
