"""Derives domain events for the monitor: which domains started or stopped, and who caused it.

``IncarnationTracker`` holds the incarnations that came and have not gone. Each new listing is
compared with it, using the *evidence* of that moment: what runs wrote into the journal, whether a
request was seen in ``control/shutdown``, and the toolstack's record of why an incarnation that is
no longer listed shut down. The initiator follows from the first rule that fits:

- A crash counts as a crash, whoever had asked for what.
- If a run of ours was stopping or creating the domain, the initiator is Lamplighter; a reboot while
  it was stopping is the guest's.
- If a domain went while a run of ours was stopping domains, and the record of that run does not
  mention it, the initiator is unknown: the record may be lost, and our own stop must never be taken
  for an intent.
- If a domain shut down after a request was seen, another tool asked it to; without a request, the
  guest did it by itself.
- If a domain is gone without having shut down, another tool destroyed it, provided that there was
  no gap in the observation; otherwise the initiator is unknown.

Nothing here acts on a domain; ``engine/intent`` learns from the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import DOM0, EMPTY, ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from uuid import UUID

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.domain_event import Moment
    from lamplighter.model.run import LastRecord, Transition

#: How many domains are remembered by their last event, the newest ones: a domain whose definition
#: states no UUID gets a new one with each start.
REMEMBERED = 5000

#: A run that last recorded one of these for an incarnation was stopping it.
STOPPING = frozenset(
    {
        Phase.ASKED,
        Phase.ACKNOWLEDGED,
        Phase.GIVEN_UP,
        Phase.FORCING,
        Phase.ENDED,
        Phase.REBOOTING,
        Phase.ABSENT,
    }
)

#: Shutdown reasons that mean a defect of the domain itself.
CRASHES = {
    ShutdownReason.CRASH: "it crashed",
    ShutdownReason.WATCHDOG: "its watchdog ran out",
}

#: The verb for what a guest did by itself, and for what it did when asked.
ENDS = {
    ShutdownReason.POWEROFF: ("powered off", "power off"),
    ShutdownReason.REBOOT: ("rebooted", "reboot"),
    ShutdownReason.SOFT_RESET: ("reset itself", "reset"),
    ShutdownReason.UNKNOWN: ("shut down", "shut down"),
}


class Evidence(NamedTuple):
    """What is known in addition to a listing.

    ``last_records`` is what runs recorded last of each domain in this boot, by name; ``moves`` what
    they recorded last of each incarnation, by domid: that outlives its name and the runs after it.
    ``asked`` has the request that was seen in each domid's ``control/shutdown``, empty where only
    its acknowledgement was. ``ends`` has, by domid, the toolstack's record of why an incarnation
    that is gone shut down. ``doubtful`` are the domids that may have been asked, or destroyed, by a
    run of ours whose record is lost. ``gapless``: nothing can have happened unseen since the
    previous listing.
    """

    last_records: Mapping[str, LastRecord] = EMPTY
    moves: Mapping[int, Transition] = EMPTY
    asked: Mapping[int, str] = EMPTY
    ends: Mapping[int, ShutdownReason | None] = EMPTY
    doubtful: Container[int] = ()
    gapless: bool = True


class IncarnationTracker:
    """The incarnations that came and have not gone."""

    def __init__(self, past: Iterable[DomainEvent] = ()) -> None:
        """``past``: the recorded events of this boot, in their order."""
        self.present: dict[int, DomainEvent] = {}
        self.last: dict[UUID, DomainEvent] = {}
        for domain_event in past:
            self._enter(domain_event)

    def missing(self, domains: Sequence[DomainInfo]) -> list[DomainEvent]:
        """Return the present incarnations that are not in this listing any more."""
        there = {(seen.domid, seen.uuid) for seen in domains}
        return [one for one in self.present.values() if (one.domid, one.uuid) not in there]

    def changed(self, domains: Sequence[DomainInfo]) -> list[DomainInfo]:
        """Return the listed domains of which ``compare`` would make an event."""
        changed = []
        for seen in domains:
            came = self.present.get(seen.domid)
            # A boot of the host uses each domid once, but a UUID may recur.
            present = came is not None and came.uuid == seen.uuid
            comes = seen.running and bool(seen.name) and not present
            ends = present and not seen.running
            if seen.domid != DOM0 and (comes or ends):
                changed.append(seen)
        return changed

    def compare(
        self, domains: Sequence[DomainInfo], evidence: Evidence, moment: Moment
    ) -> list[DomainEvent]:
        """Return the events since the previous listing, and remember them."""
        # Ended incarnations before running ones: a domain that came back went first.
        missing, changed = self.missing(domains), self.changed(domains)
        ends = [(one, evidence.ends.get(one.domid)) for one in missing] + [
            (self.present[seen.domid], seen.shutdown or evidence.ends.get(seen.domid))
            for seen in changed
            if not seen.running
        ]
        domain_events = []
        for came, end in ends:
            by, why = _who_ended(came, end, evidence)
            went = came._replace(way=Change.WENT, by=by, why=why, end=end)
            domain_events.append(self._enter(went._replace(at=moment.at, boot_id=moment.boot_id)))
        for seen in changed:
            if seen.running:
                by, why = self._who_brought(seen, evidence)
                incarnation = (seen.name, seen.uuid, seen.domid)
                came = DomainEvent(Change.CAME, *incarnation, by, why, moment.at, moment.boot_id)
                domain_events.append(self._enter(came))
        return domain_events

    def _who_brought(self, seen: DomainInfo, evidence: Evidence) -> tuple[Initiator, str]:
        before, last_record = self.last.get(seen.uuid), evidence.last_records.get(seen.name)
        if before is not None and before.end is ShutdownReason.REBOOT:
            return before.by, f"it is back from the reboot of domid {before.domid}"
        if before is not None and before.end in CRASHES:
            return Initiator.GUEST, f"it is back after domid {before.domid} crashed"
        if last_record is not None:
            # Whether a run of this boot is creating the domain, or has seen this domid come: a
            # domid is recorded only once XenStore or a listing has shown it.
            moved, result = last_record.moved, last_record.result
            ours = (
                last_record.direction is Direction.UP
                and result is not None
                and (result.domid, result.outcome) == (seen.domid, Outcome.STARTED)
            )
            if moved is not None and moved.after in (Phase.CREATING, Phase.BOOTING, Phase.UP):
                goes_on = last_record.settled is None or moved.at > last_record.settled
                ours = ours or moved.domid == seen.domid or (moved.domid is None and goes_on)
            if ours:
                return Initiator.US, "lamplighter up created it"
        if not evidence.gapless:
            return Initiator.UNKNOWN, "it came between two listings"
        return Initiator.TOOL, "another tool created it"

    def _enter(self, domain_event: DomainEvent) -> DomainEvent:
        self.last.pop(domain_event.uuid, None)
        self.last[domain_event.uuid] = domain_event
        if len(self.last) > REMEMBERED:
            del self.last[next(iter(self.last))]
        if domain_event.way is Change.CAME:
            self.present[domain_event.domid] = domain_event
        else:
            self.present.pop(domain_event.domid, None)
        return domain_event


def _who_ended(
    came: DomainEvent, end: ShutdownReason | None, evidence: Evidence
) -> tuple[Initiator, str]:
    if end in CRASHES:
        return Initiator.CRASH, CRASHES[end]
    moved = evidence.moves.get(came.domid)
    if moved is not None and moved.after in STOPPING and moved.uuid in (None, came.uuid):
        if moved.after is Phase.FORCING:
            return Initiator.US, "lamplighter down destroyed it"
        if end is ShutdownReason.REBOOT:
            return Initiator.GUEST, "it rebooted while lamplighter down was stopping it"
        did = ENDS[end][0] if end in ENDS else "ended"
        return Initiator.US, f"it {did}: lamplighter down asked it to"
    if came.domid in evidence.doubtful:
        did = ENDS[end][0] if end in ENDS else "went"
        unwritten = "while lamplighter down ran, which has no record of asking it"
        return Initiator.UNKNOWN, f"it {did} {unwritten}"
    if end is ShutdownReason.SUSPEND:
        return Initiator.TOOL, "another tool suspended it, to save or to move it"
    if end is not None:
        did, asked = ENDS[end]
        if came.domid not in evidence.asked:
            return Initiator.GUEST, f"it {did} by itself"
        request = evidence.asked[came.domid] or asked
        return Initiator.TOOL, f"it {did}: another tool asked it to {request}"
    if came.domid in evidence.asked:
        return Initiator.TOOL, "another tool asked it to shut down; how it ended was not seen"
    if not evidence.gapless:
        return Initiator.UNKNOWN, "it went between two listings"
    return Initiator.TOOL, "another tool destroyed it: it is gone without having shut down"
