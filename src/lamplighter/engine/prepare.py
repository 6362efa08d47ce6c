"""What a run does before it acts, decided in one go from what is listed and what is on record.

In this order: the record of runs that died is completed (``engine/recovery``), intents are learned
(``engine/intent``), the plan is made (``engine/plan``). Nothing is done here: the caller asks the
toolstack about what ``gone`` names, and writes down what ``prepare`` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import intent, recovery
from lamplighter.engine.plan import Past, plan_down, plan_up
from lamplighter.model.domain import EMPTY, DomainInfo
from lamplighter.model.domain_event import Moment
from lamplighter.model.intent import Meant
from lamplighter.model.record import NO_RECORD
from lamplighter.model.run import Direction, LastRecord, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from lamplighter.model.domain import ShutdownReason
    from lamplighter.model.intent import Intent
    from lamplighter.model.policy import Inventory
    from lamplighter.model.record import Record
    from lamplighter.model.run import Plan

    Repair = recovery.Settle | recovery.Close
    Reasons = Mapping[int, ShutdownReason | None]


class Found(NamedTuple):
    """What is known of the host at this moment.

    ``being_created``: the keys of the domains that something else is about to create;
    ``protected``: the domids that no stop may touch.
    """

    inventory: Inventory
    domains: Sequence[DomainInfo]
    boot_id: str
    now: datetime
    record: Record = NO_RECORD
    being_created: frozenset[str] = frozenset()
    protected: frozenset[int] = frozenset()

    @property
    def moment(self) -> Moment:
        """When this was found, as intents have it."""
        return Moment(self.now, self.boot_id)


class Prepared(NamedTuple):
    """What is to be written down before a run, and its plan.

    ``repairs`` complete the record of dead runs, ``learned`` are the intents that follow from what
    is listed, ``stated`` those that follow from naming domains.
    """

    repairs: Sequence[Repair]
    learned: Sequence[Intent]
    stated: Sequence[Intent]
    plan: Plan


def gone(found: Found) -> list[DomainInfo]:
    """Return the incarnations that have gone and of which it matters why they had shut down."""
    record = found.record
    domids = recovery.gone(record.unfinished, found.boot_id, found.domains)
    gone = [
        DomainInfo(moved.domid, moved.uuid, moved.name)
        for unfinished in record.unfinished
        for moved in unfinished.moved
        if moved.domid is not None and moved.domid in domids and moved.uuid is not None
    ]
    last, known = _last_records(found), record.intents.updated(_from_events(found))
    for managed, domid in intent.ended_unasked(found.inventory, found.domains, known, last):
        result = last[managed.name].result
        uuid = managed.definition.uuid or (result.uuid if result is not None else None)
        if uuid is not None:
            gone.append(DomainInfo(domid, uuid, managed.name))
    return gone


def prepare(
    found: Found,
    direction: Direction,
    names: Sequence[str] = (),
    reasons: Reasons = EMPTY,
    said_by: str = "",
) -> Prepared:
    """Return what is to be written down, and the plan; raise ``UsageError`` for an unknown domain.

    ``reasons`` has the shutdown reasons of what ``gone`` names, by domid; ``said_by`` is who names
    domains.
    """
    record, domains, inventory = found.record, found.domains, found.inventory
    learned = learn(found, reasons)
    intents = record.intents.updated(learned)
    resume_points = recovery.resume_points(record.unfinished, found.boot_id)
    past = Past(intents, resume_points, found.being_created)
    if direction is Direction.UP:
        plan = plan_up(inventory, domains, names, past=past)
    else:
        plan = plan_down(inventory, domains, names, protected=found.protected, past=past)
    stated: list[Intent] = []
    if names:
        # What is held, or cannot be started, is not meant to be up because somebody tried.
        named = [
            (inventory.domains[step.name], step.info)
            for step in plan.steps
            if step.name in inventory.domains and step.outcome not in (Outcome.HELD, Outcome.FAILED)
        ]
        meant = Meant.UP if direction is Direction.UP else Meant.DOWN
        stated = intent.said(named, meant, said_by, found.moment)
    state = recovery.HostState(found.boot_id, domains, reasons)
    return Prepared(list(recovery.steps(record.unfinished, state)), learned, stated, plan)


def learn(found: Found, reasons: Reasons) -> list[Intent]:
    """Return the intents that follow from what is listed, and from what the monitor saw."""
    if found.record.intents.error:
        return []
    from_events = _from_events(found)
    known = found.record.intents.updated(from_events)
    unasked = intent.ended_unasked(found.inventory, found.domains, known, _last_records(found))
    ends = {managed.name: reasons.get(domid) for managed, domid in unasked}
    listed = intent.learn(found.inventory, found.domains, known, ends, found.moment)
    return [*from_events, *listed]


def _from_events(found: Found) -> list[Intent]:
    record = found.record
    return intent.learn_from_domain_events(
        found.inventory, record.domain_events, record.intents, found.boot_id
    )


def _last_records(found: Found) -> dict[str, LastRecord]:
    """Return what is on record of each domain once the record of dead runs is complete.

    How a stop of theirs ended does not matter here, so no shutdown reason is needed.
    """
    last = dict(found.record.last)
    runs = {unfinished.run.id: unfinished.run for unfinished in found.record.unfinished}
    state = recovery.HostState(found.boot_id, found.domains, EMPTY)
    for step in recovery.steps(found.record.unfinished, state):
        if isinstance(step, recovery.Settle) and runs[step.run].boot_id == found.boot_id:
            name = step.result.name
            last[name] = last.get(name, LastRecord(name))._replace(
                result=step.result, direction=runs[step.run].direction, settled=found.now
            )
    return last
