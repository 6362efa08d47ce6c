"""Prepares a run: lists the host, plans, and does what comes before the first action.

``plan`` lists and plans and changes nothing. A run also completes the record of runs that died
(whoever calls this holds the host's lock, so every run that has not ended is dead), learns intent
from what it sees, and writes down what an administrator has just asked for: all of it is on disk
before the first domain is moved. A record that cannot be kept is reported and costs no domain
anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lamplighter.engine import prepare as engine
from lamplighter.engine import recovery, timing
from lamplighter.engine.naming import identify
from lamplighter.errors import (
    CallFailed,
    CallTimedOut,
    JournalError,
    ToolstackUnreachable,
    XenStoreUnreachable,
)
from lamplighter.host.journal.record import read_record
from lamplighter.host.machine import who
from lamplighter.model.domain import Listing
from lamplighter.model.record import Found, Record
from lamplighter.model.run import Direction
from lamplighter.service.managed_host import shutdown_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamplighter.model.domain import DomainInfo, ShutdownReason
    from lamplighter.model.plan import Plan
    from lamplighter.service.managed_host import Host

logger = logging.getLogger(__name__)


async def list_domains(host: Host) -> Sequence[DomainInfo]:
    """List the domains; a toolstack that fails again and again is ``ToolstackUnreachable``."""
    for attempt in range(1, timing.LIST_ATTEMPTS + 1):
        try:
            return await host.toolstack.list()
        except CallFailed as error:
            if attempt == timing.LIST_ATTEMPTS or isinstance(error, CallTimedOut):
                raise ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "nothing was changed; try again when the toolstack answers",
                ) from error
        await host.clock.sleep(timing.LIST_PAUSE)
    raise AssertionError("the last attempt returns or raises")


async def find(host: Host, direction: Direction, record: Record) -> Found:
    """List the domains; for a start, also find what something else is about to create.

    That is asked before the listing and after it, so that nothing falls between: what was created
    meanwhile is known from before, and what went away to be created again from after.
    """
    if direction is Direction.DOWN:
        domains, creating = await list_domains(host), frozenset[str]()
    else:
        creating = await _being_created(host)
        domains = await list_domains(host)
        creating |= await _being_created(host)
    host.inventory = identify(host.inventory, domains, record.last)
    return Found(
        host.inventory, domains, host.boot_id, host.clock.wall(), record, being_created=creating
    )


async def make_plan(host: Host, direction: Direction, names: Sequence[str], record: Record) -> Plan:
    """List the host and plan; raise ``UsageError`` for a domain nobody knows. Changes nothing.

    A run of the ``record`` that has not ended may be alive: nothing of it is taken up.
    """
    found = await find(host, direction, record._replace(unfinished=()))
    if direction is Direction.UP:
        return engine.prepare(found, direction, names, await shutdown_reasons(host, found)).plan
    found = found._replace(protected=await find_protected(host, found.domains))
    return engine.prepare(found, direction, names).plan


async def prepare(host: Host, direction: Direction, names: Sequence[str]) -> Plan:
    """List, recover, learn and plan for a run that begins now; raises as ``make_plan`` does."""
    if direction is Direction.DOWN and names:
        await _until_nothing_comes(host, names)
    began = host.clock.monotonic()
    record = read_record(host.configuration.host, host.boot_id)
    host.holds_known = not record.intents.error
    for error in record.errors:
        logger.error("what is on record cannot be read: %s", error)
    found = await find(host, direction, record)
    reasons = await shutdown_reasons(host, found)
    if host.clock.monotonic() - began > timing.FRESH:
        found = await find(host, direction, record)
    if direction is Direction.DOWN:
        found = found._replace(protected=await find_protected(host, found.domains))
    prepared = engine.prepare(found, direction, names, reasons, who() if names else "")
    await _complete_record(host, record, prepared.repairs)
    try:
        await host.intents.intend(*prepared.learned, *prepared.stated)
    except JournalError as error:
        logger.error("what the domains are meant to be cannot be kept: %s", error)
    return prepared.plan


async def plan_latecomers(host: Host) -> Plan:
    """Plan the stop of what came since the first listing, once nothing more is about to come."""
    await _until_nothing_comes(host)
    return await make_plan(host, Direction.DOWN, (), Record(host.intents.read()))


async def shutdown_reasons(host: Host, found: Found) -> dict[int, ShutdownReason | None]:
    """Ask the toolstack why incarnations had shut down that are gone, as far as that matters."""
    return {info.domid: await shutdown_reason(host, info) for info in engine.gone(found)}


async def _complete_record(host: Host, record: Record, repairs: Sequence[engine.Repair]) -> None:
    """Write how the runs that died ended, and log it. What cannot be written costs no domain."""
    if host.journal is None:
        return
    for dead, moved in record.unfinished:
        when = f"{dead.started:%Y-%m-%d %H:%M:%S}"
        boot = "" if dead.boot_id == host.boot_id else ", before the host booted"
        left = f"; it was moving {len(moved)}" if moved else ""
        logger.warning(
            "run %d (%s, %s%s) did not end%s", dead.id, dead.direction.value, when, boot, left
        )
    try:
        for step in repairs:
            match step:
                case recovery.Settle(run, result):
                    await host.journal.settle(run, result, host.clock.wall())
                    logger.info("  %s: %s: %s", result.name, result.outcome.value, result.note)
                case recovery.Close(run):
                    await host.journal.close_dead(run, host.clock.wall())
    except JournalError as error:
        logger.error("how an earlier run ended cannot be recorded: %s", error)


async def _until_nothing_comes(host: Host, names: Sequence[str] = ()) -> None:
    """Wait for what is about to come, of these domains or of all.

    What a run that was killed had begun to create, or what reboots, is not listed for a while. It
    is waited for as long as a call to the toolstack may take.
    """
    give_up = host.clock.monotonic() + host.configuration.host.call_timeout.value
    uuids, pause = {name.lower() for name in names}, timing.CREATOR_LINGERS
    while host.clock.monotonic() < give_up:
        try:
            creating = await host.toolstack.being_created(host.definitions)
            listing = Listing(await host.toolstack.list() if creating else ())
        except CallFailed:
            return  # the listing that follows reports it
        if not any(
            managed.definition.key in creating
            and (not names or managed.name in names or managed.definition.key in uuids)
            and listing.newest(managed.definition.known_by) is None
            for managed in identify(host.inventory, listing.domains).domains.values()
        ):
            return
        await host.clock.sleep(pause)
        pause = timing.LISTING_INTERVAL


async def find_protected(host: Host, domains: Sequence[DomainInfo]) -> frozenset[int]:
    """Ask XenStore which domains no stop may touch; a connection that was lost may come back."""
    async with host.xenstore.within(timing.XENSTORE_TIME):
        for _ in range(1, timing.LIST_ATTEMPTS):
            try:
                return await host.protected(domains)
            except XenStoreUnreachable:
                await host.clock.sleep(timing.LIST_PAUSE)
        return await host.protected(domains)


async def _being_created(host: Host) -> frozenset[str]:
    """Ask what is being created, more than once: who does not know that creates it once more."""
    for attempt in range(1, timing.LIST_ATTEMPTS + 1):
        try:
            return await host.toolstack.being_created(host.definitions)
        except CallFailed as error:
            if attempt == timing.LIST_ATTEMPTS or isinstance(error, CallTimedOut):
                break
        await host.clock.sleep(timing.LIST_PAUSE)
    return frozenset()  # then a create may fail because the domain is there, and is told so
