"""Learns intent from what is seen, and decides when a domain is held automatically.

``start = "last-state"`` starts a domain that was meant to be up when the host went down, however
that happened. Four rules give the intent where nobody stated one to Lamplighter:

- A domain that runs is meant to be up, unless it is the very incarnation that was asked to stop.
- A domain that ended with the reason *suspend* is away: another tool has saved or migrated it.
- A domain that powered off, by itself or because another tool asked it to, is meant to be down. One
  that crashed, or whose end nobody saw, is not: nobody intended that.
- A domain that the host's stop took down keeps its intent, whether or not the host went down after
  it.

The monitor may have seen what runs did not see: its domain events follow the same rules, in
whichever boot of the host they were.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lamplighter.formats.durations import format_duration
from lamplighter.model.domain import DOM0, DomainInfo, Listing, ShutdownReason
from lamplighter.model.domain_event import Change, Initiator, Moment
from lamplighter.model.intent import Intent, Meant
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.domain import Definition
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.intent import Intents
    from lamplighter.model.policy import Inventory, ManagedDomain, Policy
    from lamplighter.model.record import Found
    from lamplighter.model.run import LastRecord, Result

#: ``Intent.said_by`` of an intent that was learned from what was seen.
SEEN = "what was seen"


def gone_unasked(found: Found, last_records: Mapping[str, LastRecord]) -> list[DomainInfo]:
    """Return the incarnations that ``learned`` needs the shutdown reasons of.

    ``last_records`` is what is on record of each domain once the record of dead runs is complete.
    """
    known = found.record.intents.updated(_from_events(found))
    gone = []
    for managed, domid in ended_unasked(found.inventory, found.domains, known, last_records):
        result = last_records[managed.name].result
        uuid = managed.definition.uuid or (result.uuid if result is not None else None)
        if uuid is not None:
            gone.append(DomainInfo(domid, uuid, managed.name))
    return gone


def learned(
    found: Found,
    last_records: Mapping[str, LastRecord],
    reasons: Mapping[int, ShutdownReason | None],
) -> list[Intent]:
    """Return the intents that follow from what is listed, and from what the monitor saw.

    ``reasons`` has the shutdown reasons of what ``gone_unasked`` names, by domid.
    """
    if found.record.intents.error:
        return []
    from_events = _from_events(found)
    known = found.record.intents.updated(from_events)
    unasked = ended_unasked(found.inventory, found.domains, known, last_records)
    ends = {managed.name: reasons.get(domid) for managed, domid in unasked}
    listed = learn(found.inventory, found.domains, known, ends, found.moment)
    return [*from_events, *listed]


def _from_events(found: Found) -> list[Intent]:
    record = found.record
    return learn_from_domain_events(
        found.inventory, record.domain_events, record.intents, found.boot_id
    )


def ended_unasked(
    inventory: Inventory,
    domains: Sequence[DomainInfo],
    intents: Intents,
    last_records: Mapping[str, LastRecord],
) -> list[tuple[ManagedDomain, int]]:
    """Return the domains that are meant to be up and have gone, and their last known domids.

    ``last_records`` is what runs recorded since the host booted; domains that a run took down are
    left out.
    """
    found, listing = [], Listing(domains)
    for managed in inventory.domains.values():
        last_record = last_records.get(managed.name)
        if (
            last_record is None
            or last_record.result is None
            or not intents.meant_up(managed.definition)
        ):
            continue
        came_up = last_record.direction is Direction.UP and last_record.result.outcome in (
            Outcome.STARTED,
            Outcome.ALREADY,
        )
        there = listing.newest(managed.definition.known_by) is not None
        if came_up and not there and last_record.result.domid is not None:
            found.append((managed, last_record.result.domid))
    return found


def learn(
    inventory: Inventory,
    domains: Sequence[DomainInfo],
    intents: Intents,
    ends: Mapping[str, ShutdownReason | None],
    moment: Moment,
) -> list[Intent]:
    """Return the intents that change by what is seen; ``ends``: shutdown reasons by name."""
    learned, listing = [], Listing(domains)
    for managed in inventory.domains.values():
        definition = managed.definition
        before = intents.meant.get(definition.key)
        meant = before.meant if before is not None else None
        # An incarnation that runs changes an intent to be down, unless that is its own.
        told_down = (
            (before.boot_id, before.domid) if before is not None and meant is Meant.DOWN else None
        )
        running = [
            seen
            for seen in listing.all_of(definition.known_by)
            if seen.running and not seen.never_ran and told_down != (moment.boot_id, seen.domid)
        ]
        newest = listing.newest(definition.known_by)
        if running:
            if meant is not Meant.UP:
                reason = f"it was seen running as domid {running[0].domid}"
                learned.append(_intent(definition, Meant.UP, reason, moment, running[0].domid))
        elif newest is not None and newest.shutdown is ShutdownReason.SUSPEND:
            if meant is not Meant.AWAY:
                learned.append(suspended(definition, moment, newest.domid))
        elif meant is Meant.UP and ends.get(managed.name) is ShutdownReason.POWEROFF:
            reason = "it powered off, and no run of ours had asked it to"
            learned.append(_intent(definition, Meant.DOWN, reason, moment, None))
        elif meant is Meant.UP and ends.get(managed.name) is ShutdownReason.SUSPEND:
            reason = "another tool suspended it, to save or to migrate it"
            learned.append(_intent(definition, Meant.AWAY, reason, moment, None))
    return learned


def learn_from_domain_events(
    inventory: Inventory, domain_events: Iterable[DomainEvent], intents: Intents, boot_id: str
) -> list[Intent]:
    """Return the intents that change by ``domain_events``, which are in their order.

    Each event that is newer than the last intent changes it or leaves it as it is; so a domain that
    another tool started is meant to be up although it has rebooted or crashed since.
    """
    history = tuple(domain_events)
    by_domain: dict[UUID | str, list[DomainEvent]] = {}
    for found in history:
        by_domain.setdefault(found.uuid, []).append(found)
        by_domain.setdefault(found.name, []).append(found)
    earlier = dict.fromkeys(one.boot_id for one in history if one.boot_id != boot_id)
    boots = {one: number for number, one in enumerate((*earlier, boot_id))}
    stated = {
        managed.definition.key for managed in inventory.domains.values()
    } | intents.meant.keys()
    learned = []
    for managed in inventory.domains.values():
        before = last = intents.meant.get(managed.definition.key)
        by_uuid = managed.definition.uuid is not None
        for found in by_domain.get(managed.definition.known_by, ()):
            # By name, an event whose UUID another definition has stated does not count: that was
            # another domain of that name.
            is_its = by_uuid or str(found.uuid) not in stated
            if not is_its or not _is_newer(found, last, boots):
                continue
            of_last = last is not None and (last.boot_id, last.domid) == (
                found.boot_id,
                found.domid,
            )
            # Nobody asked for a guest that is back from its own reboot, nor for the incarnation
            # that was asked to stop. One that was away goes on running here.
            if found.way is Change.CAME:
                back = last is not None and last.meant is Meant.AWAY
                unasked = of_last or found.by is Initiator.GUEST
                meant = Meant.UP if back or not unasked else None
            elif found.end is ShutdownReason.SUSPEND:
                meant = Meant.AWAY
            else:
                powered_off = found.end is ShutdownReason.POWEROFF
                by_others = found.by in (Initiator.GUEST, Initiator.TOOL)
                meant = Meant.DOWN if powered_off and by_others else None
            if meant is not None and (last is None or last.meant is not meant):
                reason = f"as domid {found.domid} it {found.way.value}: {found.why}"
                moment = Moment(found.at, found.boot_id)
                last = _intent(managed.definition, meant, reason, moment, found.domid)
        if last is not None and last is not before:
            learned.append(last)
    return learned


def _is_newer(found: DomainEvent, before: Intent | None, boots: Mapping[str, int]) -> bool:
    """Return whether an event is newer than an intent; ``boots`` numbers the boots in their order.

    Clocks jump, above all while a host boots: they decide only where nothing else does.
    """
    if before is None:
        return True
    if found.boot_id == before.boot_id and before.domid is not None:
        if found.domid == before.domid and found.way is Change.CAME:
            return before.meant is Meant.AWAY and found.at > before.at
        return found.domid >= before.domid
    if found.boot_id != before.boot_id and before.boot_id in boots:
        return boots[found.boot_id] > boots[before.boot_id]
    this_boot = boots[found.boot_id] == len(boots) - 1
    if found.boot_id != before.boot_id and before.boot_id and this_boot:
        return True
    return found.at > before.at


def stated(
    plan_domains: Iterable[tuple[ManagedDomain, DomainInfo | None]],
    meant: Meant,
    said_by: str,
    moment: Moment,
) -> list[Intent]:
    """Return the intents that ``lamplighter up NAME`` or ``down NAME`` states."""
    return [
        _intent(
            managed.definition, meant, f"lamplighter {meant.value} {managed.name}", moment, domid
        )._replace(said_by=said_by)
        for managed, seen in plan_domains
        for domid in (seen.domid if seen is not None and seen.domid != DOM0 else None,)
    ]


def suspended(definition: Definition, moment: Moment, domid: int | None) -> Intent:
    """Return the intent of a domain that another tool suspended: it is away."""
    reason = f"another tool suspended it as domid {domid}, to save or to migrate it"
    return _intent(definition, Meant.AWAY, reason, moment, domid)


def host_at_fault(results: Sequence[Result]) -> bool:
    """Return whether starts failed for a cause of the host's: most of them, and not only one."""
    failed = sum(result.outcome is Outcome.FAILED for result in results)
    started = sum(result.outcome is Outcome.STARTED for result in results)
    return failed > max(1, started)


def crash_loop(
    failures: Sequence[tuple[datetime, str]], policy: Policy, now: datetime
) -> str | None:
    """Return the evidence that a domain's starts fail repeatedly; None when they do not.

    ``failures`` are the consecutive failed starts, the newest first: when, and why.
    """
    limit, window = policy.hold_after.value, policy.hold_window.value
    recent = [note for at, note in failures if now - at <= timedelta(seconds=window)]
    if not limit or len(recent) < limit:
        return None
    return (
        f"its start failed {len(recent)} times within {format_duration(window)}, "
        f"the last time because: {recent[0]}"
    )


def _intent(
    definition: Definition, meant: Meant, reason: str, moment: Moment, domid: int | None
) -> Intent:
    return Intent(
        definition.key, definition.name, meant, reason, SEEN, moment.at, moment.boot_id, domid
    )
