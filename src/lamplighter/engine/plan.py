"""Makes the plan of a run: what it does with each domain, and why.

A plan is made from one successful listing. ``up`` considers the domains that files define,
``down`` the domains that are listed. Names given by an administrator override ``start`` and
``leave``, but never a problem that blocks a domain, and never a hold.

``Past`` has what runs that died were doing: a step that continues it has ``resume``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine.naming import find, means
from lamplighter.model.domain import DOM0, EMPTY, Listing, ShutdownReason
from lamplighter.model.intent import NO_INTENTS, OURSELVES
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Plan, Step, Verb
from lamplighter.model.policy import ManagedDomain, Policy, Start, Stop
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.intent import Intents
    from lamplighter.model.policy import Inventory
    from lamplighter.model.problem import Problem
    from lamplighter.model.run import Result, Transition


class Past(NamedTuple):
    """What was recorded before: intents, holds, and where dead runs of this boot left domains.

    ``resume_points`` is by name; ``being_created`` has the keys of the domains that a process which
    no run of ours waits for is creating at this moment. ``now`` is this moment, None where what was
    recorded does not expire.
    """

    intents: Intents = NO_INTENTS
    resume_points: Mapping[str, Transition] = EMPTY
    being_created: Collection[str] = ()
    now: datetime | None = None

    def expired(self, left: Transition, policy: Policy) -> bool:
        """Return whether a stop that came so far is too long ago to be resumed.

        A guest that was to be destroyed weeks ago and runs has been left alone since.
        """
        if self.now is None:
            return False
        lasts = EXPIRES + timedelta(seconds=policy.stop_timeout.value)
        return not timedelta() <= self.now - left.at <= lasts


#: So long after its ``stop_timeout``, what a dead run's stop had come to does not count any more.
EXPIRES = timedelta(minutes=10)

#: What libxl appends to the name of a domain that is being received from another host.
INCOMING = "--incoming"

#: Nothing was recorded before.
NO_PAST = Past()


def plan_up(
    inventory: Inventory,
    domains: Sequence[DomainInfo],
    names: Collection[str] = (),
    *,
    past: Past = NO_PAST,
) -> Plan:
    """Plan the start of the domains that are wanted up, or of the named ones."""
    blocked = inventory.blocked
    candidates = {**dict.fromkeys(blocked), **inventory.domains}
    if names:
        for name in names:
            find(name, inventory)
        candidates = {name: m for name, m in candidates.items() if _named(name, m, names)}
    listing = Listing(domains)
    steps = [
        _step_up(name, managed, blocked.get(name), listing, past, by_hand=bool(names))
        for name, managed in sorted(candidates.items())
    ]
    return Plan(Direction.UP, tuple(steps))


def plan_down(
    inventory: Inventory,
    domains: Sequence[DomainInfo],
    names: Collection[str] = (),
    *,
    protected: Collection[int] = (),
    past: Past = NO_PAST,
) -> Plan:
    """Plan the stop of every listed guest, or of the named domains.

    ``protected`` are domids of domains that the host itself needs, such as one that provides
    XenStore; dom0 is always protected.
    """
    guests = [seen for seen in domains if seen.domid != DOM0 and seen.domid not in protected]
    defined = {one.definition.known_by: one for one in reversed(tuple(inventory.domains.values()))}
    steps = []
    for seen in guests:
        managed = defined.get(seen.uuid) or defined.get(seen.name)
        policy = managed.policy if managed else inventory.named.get(seen.name, inventory.defaults)
        name = managed.name if managed else seen.name or f"domid {seen.domid}"
        definition = managed.definition if managed else None
        reason = f'stop = "{policy.stop.value.value}" ({policy.stop.origin})'
        if managed is None and seen.name not in inventory.named:
            reason += ", no file defines it"
        if policy.stop.value is Stop.LEAVE and not names:
            steps.append(_nothing(name, policy, reason, Outcome.SKIPPED, seen))
            continue
        verb = Verb.DESTROY if policy.stop.value is Stop.DESTROY else Verb.STOP
        if names and verb is Verb.STOP:
            reason = "asked for by name"
        step = Step(name, verb, reason, policy, definition, seen, notes=_notes(policy))
        # Where a dead run's stop of this very incarnation had come to, it resumes.
        left = past.resume_points.get(name)
        same = left is not None and left.domid == seen.domid and seen.running
        if left is not None and same and not past.expired(left, policy):
            resume = left.after
            step = step._replace(
                resume=resume if resume in (Phase.ACKNOWLEDGED, Phase.FORCING) else None
            )
        steps.append(step)
    if names:
        known = {**dict.fromkeys(inventory.blocked), **inventory.domains}
        for name in names:
            find(name, inventory, guests)
        steps = [
            step
            for step in steps
            if step.info is not None
            and (means(names, step.name, step.info.uuid) or step.info.name in names)
        ]
        stopped = {step.name for step in steps}
        steps += [
            _nothing(name, inventory.policy_of(name), "does not run", Outcome.ALREADY)
            for name, one in known.items()
            if _named(name, one, names) and name not in stopped
        ]
    return Plan(Direction.DOWN, tuple(sorted(steps, key=lambda step: step.name)))


# --- up --------------------------------------------------------------------------------------


def _step_up(
    name: str,
    managed: ManagedDomain | None,
    problem: Problem | None,
    listing: Listing,
    past: Past,
    *,
    by_hand: bool,
) -> Step:
    if managed is None:
        return _nothing(name, Policy(), _why_blocked(problem), Outcome.FAILED, good=False)
    definition, policy = managed.definition, managed.policy
    seen = listing.newest(definition.known_by)
    hold = past.intents.hold_of(definition)
    reason = f'start = "{policy.start.value.value}" ({policy.start.origin})'
    left = past.resume_points.get(name)
    left_starting = left is not None and left.after in (Phase.CREATING, Phase.BOOTING)
    # What has never run is being created, or half built: it is not there yet.
    if seen is not None and seen.running and (left_starting or not seen.never_ran):
        if not left_starting:
            held = f", although it is {hold.description}" if hold is not None else ""
            renamed = f", under the name {seen.name}" if seen.name not in ("", name) else ""
            runs = f"runs already as domid {seen.domid}{renamed}{held}"
            return _nothing(name, policy, runs, Outcome.ALREADY, seen)
        resume: Phase | None = Phase.BOOTING
    elif hold is not None:
        # Respecting a person's hold is good; naming a held domain is refused.
        held = f"{hold.description}; lamplighter release {name} lets it be started again"
        good = not by_hand and hold.said_by != OURSELVES
        return _nothing(name, policy, held, Outcome.HELD, seen, good=good)
    else:
        if not by_hand and policy.start.value is Start.NEVER:
            return _nothing(name, policy, reason, Outcome.SKIPPED, seen)
        away = past.intents.away(definition)
        if not by_hand and away is not None:
            kept_away = f"{away.description}; lamplighter up {name} starts it afresh all the same"
            return _nothing(name, policy, kept_away, Outcome.SKIPPED, seen)
        meant_up = past.intents.error or past.intents.meant_up(definition)
        if not by_hand and policy.start.value is Start.LAST_STATE and not meant_up:
            intent = past.intents.meant.get(definition.key)
            unwanted = f"it is {intent.description}" if intent else "it has never been up"
            return _nothing(name, policy, f"{reason}: {unwanted}", Outcome.SKIPPED, seen)
        # A domain that has ended and is still listed may be about to be created again, unless it
        # was suspended.
        suspended = seen is not None and seen.shutdown is ShutdownReason.SUSPEND
        creating = definition.key in past.being_created and not suspended
        resume = Phase.CREATING if creating else None
        kept = seen if resume is None else None
        if seen is not None and seen.never_ran:
            resume = Phase.BOOTING
        obstacle = _obstacle(managed, problem, kept, listing, past, by_hand=by_hand)
        if obstacle is not None:
            return _nothing(name, policy, obstacle, Outcome.FAILED, seen, good=False)
    if by_hand:
        reason = "asked for by name"
    elif policy.start.value is Start.LAST_STATE:
        reason += ": it is meant to be up"
    notes = _notes(policy)
    if by_hand and resume is None and (away := past.intents.away(definition)) is not None:
        notes += (f"{away.description}; from now on that memory must not be continued",)
    step = Step(name, Verb.START, reason, policy, definition)
    return step._replace(info=seen, notes=notes, resume=resume)


def _obstacle(
    managed: ManagedDomain,
    problem: Problem | None,
    kept: DomainInfo | None,
    listing: Listing,
    past: Past,
    *,
    by_hand: bool,
) -> str | None:
    """Return why a wanted domain must not be created now; None when it may be.

    ``kept`` is an incarnation that has ended, and that nothing is about to replace by a new one.
    """
    if problem is not None:
        return _why_blocked(problem)
    if past.intents.error and not by_hand:
        return (
            f"whether it is held, or was up, is not known: {past.intents.error}; "
            f"lamplighter up {managed.name} starts it all the same"
        )
    if kept is not None and kept.shutdown is not None and not kept.dying:
        if kept.shutdown is ShutdownReason.SUSPEND:
            return f"another tool has suspended it as domid {kept.domid}, to save or to move it"
        end = kept.shutdown.name.lower()
        return (
            f"domid {kept.domid} of it has shut down ({end}) and is kept; "
            f"lamplighter down {managed.name} removes it"
        )
    for other in listing.all_of(f"{managed.name}{INCOMING}"):
        return f"it is being received from another host as domid {other.domid}"
    for other in listing.all_of(managed.name):
        if not managed.definition.matches(other):
            return f"another domain of this name is there (domid {other.domid}, {other.uuid})"
    return None


def _why_blocked(problem: Problem | None) -> str:
    if problem is None:
        return "its definition cannot be used"
    place = f"{problem.where}: " if problem.where else ""
    return f"{place}{problem.message}"


# --- down ------------------------------------------------------------------------------------


def only_new_steps(plan: Plan, results: Collection[Result]) -> Plan:
    """Return the part of a later plan that an earlier one did not have, as its results show.

    That is the incarnations that were not in the first listing: created since, or created again
    after a reboot of their own. What the earlier plan could not stop is not tried again.
    """
    done = {(result.uuid, result.domid) for result in results}
    note = "it was not there when the others were asked"
    late = tuple(
        step._replace(notes=(note, *step.notes))
        for step in plan.steps
        if step.verb is not Verb.NOTHING
        and step.info is not None
        and (step.info.uuid, step.info.domid) not in done
    )
    return plan._replace(steps=late)


# --- both ------------------------------------------------------------------------------------


def _nothing(
    name: str,
    policy: Policy,
    reason: str,
    outcome: Outcome,
    seen: DomainInfo | None = None,
    *,
    good: bool = True,
) -> Step:
    return Step(
        name,
        Verb.NOTHING,
        reason,
        policy,
        info=seen,
        outcome=outcome,
        good=good,
        notes=_notes(policy) if outcome is not Outcome.SKIPPED else (),
    )


def _notes(policy: Policy) -> tuple[str, ...]:
    return tuple(note for note in (policy.start.note, policy.stop.note) if note)


def _named(name: str, managed: ManagedDomain | None, names: Collection[str]) -> bool:
    return means(names, name, managed.definition.uuid if managed else None)
