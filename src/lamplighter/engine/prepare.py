"""Decides what a run does before it acts, in one call, from the listing and the record.

In this order: the record of runs that died is completed (``engine/recovery``), intents are learned
(``engine/intent``), the plan is made (``engine/plan``). Nothing is done here: the caller asks the
toolstack about what ``gone`` names, and writes down what ``prepare`` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import intent, recovery
from lamplighter.engine.plan import Past, plan_down, plan_up
from lamplighter.model.domain import EMPTY, DomainInfo
from lamplighter.model.intent import Meant
from lamplighter.model.run import Direction, LastRecord, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.model.domain import ShutdownReason
    from lamplighter.model.intent import Intent
    from lamplighter.model.plan import Plan
    from lamplighter.model.record import Found

    Repair = recovery.Settle | recovery.Close
    Reasons = Mapping[int, ShutdownReason | None]


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
    unfinished = found.record.unfinished
    domids = recovery.gone(unfinished, found.boot_id, found.domains)
    stopped = [
        DomainInfo(moved.domid, moved.uuid, moved.name)
        for run in unfinished
        for moved in run.moved
        if moved.domid is not None and moved.domid in domids and moved.uuid is not None
    ]
    return [*stopped, *intent.gone_unasked(found, _last_records(found))]


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
    learned = intent.learned(found, _last_records(found), reasons)
    intents = record.intents.updated(learned)
    resume_points = recovery.resume_points(record.unfinished, found.boot_id)
    past = Past(intents, resume_points, found.being_created, found.now)
    if direction is Direction.UP:
        plan = plan_up(inventory, domains, names, past=past)
    else:
        plan = plan_down(inventory, domains, names, protected=found.protected, past=past)
    stated: list[Intent] = []
    if names:
        # A domain that is held or cannot be started is not meant to be up because somebody tried.
        named = [
            (inventory.domains[step.name], step.info)
            for step in plan.steps
            if step.name in inventory.domains and step.outcome not in (Outcome.HELD, Outcome.FAILED)
        ]
        if direction is Direction.DOWN:
            # To ask for one that is away to be down says nothing about the memory it left.
            named = [
                (managed, seen)
                for managed, seen in named
                if seen is not None or intents.away(managed.definition) is None
            ]
        meant = Meant.UP if direction is Direction.UP else Meant.DOWN
        stated = intent.stated(named, meant, said_by, found.moment)
    state = recovery.HostState(found.boot_id, domains, reasons)
    return Prepared(list(recovery.steps(record.unfinished, state)), learned, stated, plan)


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
