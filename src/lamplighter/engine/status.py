"""The rows of ``status``: what is wanted of each domain, what is seen, and why they differ.

``wanted`` is what policy and intent want of the domain when the host starts; nothing is wanted of a
domain that no file defines. ``seen`` comes from one listing, and "could not be read" is a state of
its own: then every domain that files define is ``unknown``, and none is ``absent``. ``since``, and
why a wanted domain is not there, come from what runs wrote into the journal since the host booted;
where the monitor runs, its events are more exact and cover every domain.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import DOM0, EMPTY, ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent
from lamplighter.model.intent import NO_INTENTS
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Policy, Start, Stop
from lamplighter.model.run import Direction, LastRecord, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from lamplighter.formats.agent_protocol import AgentStatus
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.intent import Intents
    from lamplighter.model.policy import Inventory, ManagedDomain
    from lamplighter.model.problem import Problem


class Wanted(Enum):
    """What policy and intent want of a domain."""

    UP = "up"
    HELD = "held"  # nothing starts it until it is released
    AWAY = "away"  # another tool saved or migrated it; the host's start does not start it
    DOWN = "down"  # nothing starts it with the host, and the host's stop stops it
    LEAVE = "leave"  # nothing starts it, nothing stops it
    NOTHING = "-"  # no file defines it, or none that can be used


class Seen(Enum):
    """The state of a domain, from one listing and from what its kernel advertised in XenStore."""

    RUNNING = "running"
    BOOTING = "booting"  # it runs; its kernel has not advertised itself
    PAUSED = "paused"
    SHUT_DOWN = "shut down"  # it has ended and was not reaped yet
    DYING = "dying"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # it could not be read


class Row(NamedTuple):
    """One domain in ``status``. ``why`` is empty when there is nothing to explain.

    ``guest`` is what an agent in it reports; None: it has none, or does not run.
    """

    name: str
    uuid: UUID | None
    domid: int | None
    wanted: Wanted
    seen: Seen
    since: datetime | None
    why: str
    guest: AgentStatus | None = None


class View(NamedTuple):
    """What is seen of the host now.

    ``domains`` is None when the listing failed. ``not_advertised`` are the domids whose kernel
    has not advertised itself yet, ``protected`` those of domains the host itself needs.
    ``last_events`` has the monitor's last event of each domain in this boot, by name; empty where
    none runs. ``reports`` is what agents report, by the domid of the guest; ``unpause`` is the
    command with which a person lets a paused domain go on.
    """

    domains: Sequence[DomainInfo] | None
    not_advertised: Collection[int] = ()
    protected: Collection[int] = ()
    last_events: Mapping[str, DomainEvent] = EMPTY
    reports: Mapping[int, AgentStatus] = EMPTY
    unpause: str = ""


def status_rows(
    inventory: Inventory,
    view: View,
    last_records: Mapping[str, LastRecord],
    intents: Intents = NO_INTENTS,
) -> list[Row]:
    """Return a row for every domain that files define or that is listed, except dom0, by name."""
    blocked = inventory.blocked
    rows: list[Row] = []
    shown: set[int] = {DOM0}
    for managed in inventory.domains.values():
        shown |= {s.domid for s in view.domains or () if managed.definition.matches(s)}
        last_record = last_records.get(managed.name, LastRecord(managed.name))
        rows.append(_defined(managed, view, blocked.get(managed.name), last_record, intents))
    for name, problem in blocked.items():
        if name not in inventory.domains:
            found = [s for s in view.domains or () if s.name == name and s.domid not in shown]
            shown |= {s.domid for s in found}
            seen = found[-1] if found else None
            uuid, domid = (seen.uuid, seen.domid) if seen else (None, None)
            why = f"its definition cannot be used: {_problem_text(problem)}"
            state = _state(seen, view, LastRecord(name))
            rows.append(Row(name, uuid, domid, Wanted.NOTHING, state, None, why))
    for seen in view.domains or ():
        if seen.domid not in shown:
            last_record = last_records.get(seen.name, LastRecord(seen.name))
            state = _state(seen, view, last_record)
            if seen.domid in view.protected:
                why = "the host, or another domain, needs it: no stop touches it"
            elif seen.running:
                policy = inventory.named.get(seen.name, inventory.defaults)
                why = f"runs, but no file defines it; {_what_down_does(policy)}"
            else:
                why = _why_ended(seen.name, state, seen)
            name = seen.name or f"domid {seen.domid}"
            since = _since(state, seen.domid, last_record, view)
            rows.append(Row(name, seen.uuid, seen.domid, Wanted.NOTHING, state, since, why))
    rows.sort(key=lambda row: (row.name, row.domid or 0))
    return [row._replace(guest=view.reports.get(row.domid or DOM0)) for row in rows]


# --- one row ---------------------------------------------------------------------------------


def _defined(
    managed: ManagedDomain,
    view: View,
    problem: Problem | None,
    last_record: LastRecord,
    intents: Intents,
) -> Row:
    """Return the row of a domain that a file defines."""
    name, definition, policy = managed.name, managed.definition, managed.policy
    # The newest incarnation: a dying one may be listed beside its successor.
    found = [one for one in view.domains or () if definition.matches(one)]
    seen = max(found, key=lambda one: (one.running, one.domid), default=None)
    state = _state(seen, view, last_record)
    meant, hold, away = (
        intents.meant.get(definition.key),
        intents.hold_of(definition),
        intents.away(definition),
    )
    wanted = _wanted(managed, seen, intents)
    why = ""
    if hold is not None and state is Seen.ABSENT:
        why = f"{hold.description}; lamplighter release {name} releases it"
    elif hold is not None and state is not Seen.UNKNOWN:
        why = f"is there although it is {hold.description}; lamplighter down {name} stops it"
    elif away is not None and (seen is None or not seen.running):
        why = f"{away.description}; lamplighter up {name} starts it afresh all the same"
    elif state is Seen.ABSENT and wanted is not Wanted.UP:
        last_state = policy.start.value is Start.LAST_STATE
        if last_state and wanted is Wanted.DOWN and meant is not None:
            why = meant.description
    elif state is Seen.ABSENT:
        why = _why_absent(managed, view, problem, last_record)
    elif seen is None:
        why = "the domains could not be read"
    elif not seen.running:
        why = _why_ended(name, state, seen)
    elif state is Seen.PAUSED:
        go_on = f"; {view.unpause} {name} lets it go on" if view.unpause else ""
        why = f"is paused and answers nothing{go_on}"
    elif state is Seen.BOOTING:
        why = "its kernel has not advertised itself: it still boots, or has no PV drivers"
    elif wanted is not Wanted.UP:
        why = f"runs, although nothing starts it with the host; {_what_down_does(policy)}"
    domid = seen.domid if seen else None
    since = _since(state, domid, last_record, view)
    return Row(name, seen.uuid if seen else definition.uuid, domid, wanted, state, since, why)


def _wanted(managed: ManagedDomain, seen: DomainInfo | None, intents: Intents) -> Wanted:
    definition, policy = managed.definition, managed.policy
    if intents.hold_of(definition) is not None:
        return Wanted.HELD
    if intents.away(definition) is not None:
        return Wanted.AWAY
    # Without an intent, a domain that runs would be started again.
    last_up = seen is not None and seen.running
    if definition.key in intents.meant:
        last_up = intents.meant_up(definition)
    start = policy.start.value
    if start is Start.ALWAYS or (start is Start.LAST_STATE and last_up):
        return Wanted.UP
    return Wanted.LEAVE if policy.stop.value is Stop.LEAVE else Wanted.DOWN


def _state(seen: DomainInfo | None, view: View, last_record: LastRecord) -> Seen:
    if view.domains is None:
        return Seen.UNKNOWN
    if seen is None:
        return Seen.ABSENT
    if seen.dying:
        return Seen.DYING
    if seen.shutdown is not None:
        return Seen.SHUT_DOWN
    if seen.paused:
        return Seen.PAUSED
    # A run may have taken it for up although its kernel never advertised itself.
    moved = last_record.moved
    taken_for_up = moved is not None and (moved.domid, moved.after) == (seen.domid, Phase.UP)
    booting = seen.domid in view.not_advertised and not taken_for_up
    return Seen.BOOTING if booting else Seen.RUNNING


def _since(state: Seen, domid: int | None, last_record: LastRecord, view: View) -> datetime | None:
    """Return when this state began, from the monitor or else the journal; None: neither knows."""
    if state is Seen.UNKNOWN:
        return None
    event, moved = view.last_events.get(last_record.name), last_record.moved
    if event is not None:
        went = event.way is Change.WENT
        ended = state in (Seen.SHUT_DOWN, Seen.DYING)
        # Whether the state that the domain is in began with this event.
        began = went if state is Seen.ABSENT else event.domid == domid and ended is went
        if began:
            return event.at
    if moved is not None and (state is Seen.ABSENT or moved.domid == domid):
        return moved.at
    return None


# --- why -------------------------------------------------------------------------------------


def _why_absent(
    managed: ManagedDomain, view: View, problem: Problem | None, last_record: LastRecord
) -> str:
    if problem is not None:
        return f"should be up and must not be started: {_problem_text(problem)}"
    for other in view.domains or ():
        if other.name == managed.name:
            return (
                "should be up and is not: another domain of this name is there "
                f"(domid {other.domid}, {other.uuid})"
            )
    start_it = f"lamplighter up {managed.name} starts it"
    moved = last_record.moved
    if moved is not None and (last_record.settled is None or moved.at > last_record.settled):
        return f"should be up and is not: a run has been moving it ({moved.after.value})"
    went = view.last_events.get(managed.name)
    settled = last_record.settled  # when the last run had finished with it
    if went is not None and went.way is Change.WENT and (settled is None or went.at > settled):
        return f"should be up and is not: {went.why}, at {_clock(went.at)}; {start_it}"
    if last_record.result is None or last_record.settled is None:
        return f"should be up and has not been started since the host booted; {start_it}"
    when = _clock(last_record.settled)
    outcome = last_record.result.outcome
    if last_record.direction is Direction.UP and outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        return f"should be up and is not: its start failed at {when}: {last_record.result.note}"
    if last_record.direction is Direction.DOWN and outcome in (Outcome.CLEAN, Outcome.FORCED):
        return (
            f"should be up and is not: a run took it down at {when} ({outcome.value}); {start_it}"
        )
    return f"should be up and is not: it ended by itself after {when}; {start_it}"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _why_ended(name: str, state: Seen, seen: DomainInfo) -> str:
    if state is Seen.DYING or seen.shutdown is None:
        return "the hypervisor is destroying it"
    if seen.shutdown is ShutdownReason.SUSPEND:
        return "another tool has suspended it, to save or to move it"
    reason = seen.shutdown.name.lower().replace("_", " ")
    return f"has shut down ({reason}) and is kept; lamplighter down {name} removes it"


def _what_down_does(policy: Policy) -> str:
    match policy.stop.value:
        case Stop.SHUTDOWN:
            return "down will shut it down cleanly"
        case Stop.LEAVE:
            return "down will leave it"
        case Stop.DESTROY:
            return "down will destroy it"


def _problem_text(problem: Problem) -> str:
    return f"{problem.where}: {problem.message}" if problem.where else problem.message
