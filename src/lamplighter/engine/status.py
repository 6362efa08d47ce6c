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

    from lamplighter.formats.agent_protocol import AgentWords
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.intent import Hold, Intents
    from lamplighter.model.policy import Inventory, ManagedDomain
    from lamplighter.model.problem import Problem


class Wanted(Enum):
    """What policy and intent want of a domain."""

    UP = "up"
    HELD = "held"  # nothing starts it until it is released
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
    guest: AgentWords | None = None


class View(NamedTuple):
    """What is seen of the host now.

    ``domains`` is None when the listing failed. ``not_advertised`` are the domids whose kernel
    has not advertised itself yet, ``protected`` those of domains the host itself needs.
    ``domain_events`` has the monitor's last event of each domain in this boot, by name; empty where
    none runs. ``words`` is what agents report, by the domid of the guest; ``unpause`` is the
    command with which a person lets a paused domain go on.
    """

    domains: Sequence[DomainInfo] | None
    not_advertised: Collection[int] = ()
    protected: Collection[int] = ()
    domain_events: Mapping[str, DomainEvent] = EMPTY
    words: Mapping[int, AgentWords] = EMPTY
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
    told: set[int] = {DOM0}
    for managed in inventory.domains.values():
        seen = _find(managed, view)
        told |= {s.domid for s in view.domains or () if managed.definition.matches(s)}
        last_record = last_records.get(managed.name, LastRecord(managed.name))
        rows.append(_known(managed, seen, view, blocked.get(managed.name), last_record, intents))
    for name, problem in blocked.items():
        if name not in inventory.domains:
            found = [s for s in view.domains or () if s.name == name and s.domid not in told]
            told |= {s.domid for s in found}
            rows.append(_unusable(name, found[-1] if found else None, view, problem))
    for seen in view.domains or ():
        if seen.domid not in told:
            last_record = last_records.get(seen.name, LastRecord(seen.name))
            policy = inventory.named.get(seen.name, inventory.defaults)
            rows.append(_stranger(seen, view, policy, last_record))
    rows.sort(key=lambda row: (row.name, row.domid or 0))
    return [row._replace(guest=view.words.get(row.domid or DOM0)) for row in rows]


# --- one row ---------------------------------------------------------------------------------


def _known(
    managed: ManagedDomain,
    seen: DomainInfo | None,
    view: View,
    problem: Problem | None,
    last_record: LastRecord,
    intents: Intents,
) -> Row:
    state = _state(seen, view, last_record)
    wanted = _wanted(managed, seen, intents)
    uuid = seen.uuid if seen else managed.definition.uuid
    domid = seen.domid if seen else None
    why = _why(managed, wanted, state, view, problem, last_record)
    meant = intents.meant.get(managed.definition.key)
    last_state = managed.policy.start.value is Start.LAST_STATE
    if last_state and state is Seen.ABSENT and wanted is Wanted.DOWN and meant is not None:
        why = f"meant to be down since {meant.at:%Y-%m-%d %H:%M:%S}: {meant.reason}"
    hold = intents.hold_of(managed.definition)
    if hold is not None and state is not Seen.UNKNOWN:
        why = _why_held(hold, managed.name, state)
    return Row(
        managed.name, uuid, domid, wanted, state, _since(state, domid, last_record, view), why
    )


def _unusable(name: str, seen: DomainInfo | None, view: View, problem: Problem) -> Row:
    uuid, domid = (seen.uuid, seen.domid) if seen else (None, None)
    why = f"its definition cannot be used: {_told(problem)}"
    return Row(name, uuid, domid, Wanted.NOTHING, _state(seen, view, LastRecord(name)), None, why)


def _stranger(seen: DomainInfo, view: View, policy: Policy, last_record: LastRecord) -> Row:
    state = _state(seen, view, last_record)
    if seen.domid in view.protected:
        why = "the host needs it: no stop touches it"
    elif seen.running:
        why = f"runs, but no file knows it; {_what_down_does(policy)}"
    else:
        why = _why_ended(seen.name, state, seen)
    name = seen.name or f"domid {seen.domid}"
    since = _since(state, seen.domid, last_record, view)
    return Row(name, seen.uuid, seen.domid, Wanted.NOTHING, state, since, why)


def _wanted(managed: ManagedDomain, seen: DomainInfo | None, intents: Intents) -> Wanted:
    policy, start = managed.policy, managed.policy.start.value
    if intents.hold_of(managed.definition) is not None:
        return Wanted.HELD
    if start is Start.ALWAYS:
        return Wanted.UP
    if start is Start.LAST_STATE and _last_up(managed, seen, intents):
        return Wanted.UP
    return Wanted.LEAVE if policy.stop.value is Stop.LEAVE else Wanted.DOWN


def _find(managed: ManagedDomain, view: View) -> DomainInfo | None:
    """Return the domain's newest incarnation: a dying one may be listed beside its successor."""
    found = [seen for seen in view.domains or () if managed.definition.matches(seen)]
    return max(found, key=lambda seen: (seen.running, seen.domid), default=None)


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
    booting = seen.domid in view.not_advertised and not _waited_for(seen.domid, last_record)
    return Seen.BOOTING if booting else Seen.RUNNING


def _waited_for(domid: int, last_record: LastRecord) -> bool:
    """Return whether a run took it for up, perhaps though its kernel never advertised itself."""
    moved = last_record.moved
    return moved is not None and moved.domid == domid and moved.after is Phase.UP


def _since(state: Seen, domid: int | None, last_record: LastRecord, view: View) -> datetime | None:
    """Return when this state began, from the monitor or else the journal; None: neither knows."""
    if state is Seen.UNKNOWN:
        return None
    domain_event = view.domain_events.get(last_record.name)
    if domain_event is not None and _tells_since(domain_event, state, domid):
        return domain_event.at
    moved = last_record.moved
    if moved is not None and (state is Seen.ABSENT or moved.domid == domid):
        return moved.at
    return None


def _tells_since(domain_event: DomainEvent, state: Seen, domid: int | None) -> bool:
    """Return whether the state that a domain is in began with this event."""
    if state is Seen.ABSENT:
        return domain_event.way is Change.WENT
    ended = state in (Seen.SHUT_DOWN, Seen.DYING)
    return domain_event.domid == domid and ended is (domain_event.way is Change.WENT)


# --- why -------------------------------------------------------------------------------------


def _why(
    managed: ManagedDomain,
    wanted: Wanted,
    state: Seen,
    view: View,
    problem: Problem | None,
    last_record: LastRecord,
) -> str:
    name = managed.name
    if state is Seen.UNKNOWN:
        return "the domains could not be read"
    seen = _find(managed, view)
    if seen is not None and not seen.running:
        return _why_ended(name, state, seen)
    if state is Seen.PAUSED:
        go_on = f"; {view.unpause} {name} lets it go on" if view.unpause else ""
        return f"is paused and answers nothing{go_on}"
    if state is Seen.BOOTING:
        return "its kernel has not advertised itself: it still boots, or has no PV drivers"
    if state is Seen.RUNNING:
        return "" if wanted is Wanted.UP else _why_it_runs(managed)
    return _why_absent(managed, view, problem, last_record) if wanted is Wanted.UP else ""


def _last_up(managed: ManagedDomain, seen: DomainInfo | None, intents: Intents) -> bool:
    """Return whether the domain would be started again; without an intent: whether it runs."""
    if managed.definition.key in intents.meant:
        return intents.meant_up(managed.definition)
    return seen is not None and seen.running


def _why_held(hold: Hold, name: str, state: Seen) -> str:
    if state is Seen.ABSENT:
        return f"{hold.told}; lamplighter release {name} lets it go"
    return f"is there although it is {hold.told}; lamplighter down {name} stops it"


def _why_it_runs(managed: ManagedDomain) -> str:
    return f"runs, although nothing starts it with the host; {_what_down_does(managed.policy)}"


def _why_absent(
    managed: ManagedDomain, view: View, problem: Problem | None, last_record: LastRecord
) -> str:
    if problem is not None:
        return f"should be up and must not be started: {_told(problem)}"
    for other in view.domains or ():
        if other.name == managed.name:
            return (
                "should be up and is not: another domain of this name is there "
                f"(domid {other.domid}, {other.uuid})"
            )
    start_it = f"lamplighter up {managed.name} starts it"
    if last_record.moved is not None and (
        last_record.settled is None or last_record.moved.at > last_record.settled
    ):
        return (
            f"should be up and is not: a run has been moving it ({last_record.moved.after.value})"
        )
    went = view.domain_events.get(managed.name)
    if went is not None and went.way is Change.WENT and _is_newer(went, last_record):
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


def _is_newer(went: DomainEvent, last_record: LastRecord) -> bool:
    """Return whether a domain went after the last run had finished with it."""
    return last_record.settled is None or went.at > last_record.settled


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _why_ended(name: str, state: Seen, seen: DomainInfo) -> str:
    if state is Seen.DYING or seen.shutdown is None:
        return "the hypervisor is taking it apart"
    if seen.shutdown is ShutdownReason.SUSPEND:
        return "another tool has suspended it, to save or to move it"
    reason = seen.shutdown.name.lower().replace("_", " ")
    return f"has shut down ({reason}) and is kept; lamplighter down {name} takes it away"


def _what_down_does(policy: Policy) -> str:
    match policy.stop.value:
        case Stop.SHUTDOWN:
            return "down will shut it down cleanly"
        case Stop.LEAVE:
            return "down will leave it"
        case Stop.DESTROY:
            return "down will destroy it"


def _told(problem: Problem) -> str:
    return f"{problem.where}: {problem.message}" if problem.where else problem.message
