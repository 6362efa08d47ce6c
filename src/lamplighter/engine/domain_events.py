"""Who came and went between two pictures of the host, and on whose account.

``IncarnationTracker`` is what the monitor knows: the incarnations that came and have not gone. Each
new listing is compared with it, with the *evidence* of that moment: what runs wrote into the
journal, whether a request was seen in ``control/shutdown``, and why the toolstack says that an
incarnation that is no longer listed had shut down. The rules, the first that fits:

- A crash is a crash, whoever had asked for what.
- What a run of ours was stopping, or creating, went or came on our account.
- What went while a run of ours was stopping domains, and of which its record does not tell, went on
  nobody knows whose: the record may be lost, and our own stop must never be taken for a wish.
- What shut down after a request was seen was asked by another tool; without one, the guest did it.
- What is gone without having shut down was destroyed by another tool, if somebody was looking all
  the time; otherwise nobody knows.

All of it is for the record: nothing here decides what becomes of a domain.
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

#: So many domains that have gone are remembered, the newest: one without a UUID of its own gets
#: another with each start.
REMEMBERED = 5000

#: A run that wrote one of these of an incarnation was stopping it.
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

#: What ended by a defect of its own.
CRASHES = {
    ShutdownReason.CRASH: "it crashed",
    ShutdownReason.WATCHDOG: "its watchdog ran out",
}

#: What a guest does by itself, and what it is called when it was asked to.
ENDS = {
    ShutdownReason.POWEROFF: ("powered off", "power off"),
    ShutdownReason.REBOOT: ("rebooted", "reboot"),
    ShutdownReason.SOFT_RESET: ("reset itself", "reset"),
    ShutdownReason.UNKNOWN: ("shut down", "shut down"),
}


class Evidence(NamedTuple):
    """What is known beside a listing.

    ``traces`` is what runs wrote last of each domain in this boot, ``moves`` what they wrote last
    of each incarnation: that outlives its name and the runs after it. ``asked`` has the word that
    was seen in each domid's ``control/shutdown``, empty where only its acknowledgement was.
    ``ends`` has the toolstack's own record of incarnations that are gone. ``doubtful`` are the
    domids that may have been asked, or destroyed, by a run of ours whose record is lost.
    ``gapless``: since the listing before, nothing can have happened unseen.
    """

    traces: Mapping[str, LastRecord] = EMPTY
    moves: Mapping[int, Transition] = EMPTY
    asked: Mapping[int, str] = EMPTY
    ends: Mapping[int, ShutdownReason | None] = EMPTY
    doubtful: Container[int] = ()
    gapless: bool = True


class IncarnationTracker:
    """The incarnations that came and have not gone."""

    def __init__(self, past: Iterable[DomainEvent] = ()) -> None:
        """``past``: what the record says of this boot, in its order."""
        self.present: dict[int, DomainEvent] = {}
        self.last: dict[UUID, DomainEvent] = {}
        for domain_event in past:
            self._enter(domain_event)

    def missing(self, sightings: Sequence[DomainInfo]) -> list[DomainEvent]:
        """Return those that came and are in this listing no longer."""
        there = {(seen.domid, seen.uuid) for seen in sightings}
        return [one for one in self.present.values() if (one.domid, one.uuid) not in there]

    def news(self, sightings: Sequence[DomainInfo]) -> list[DomainInfo]:
        """Return the sightings that a comparison would tell something of."""
        return [seen for seen in sightings if self._is_news(seen)]

    def compare(
        self, sightings: Sequence[DomainInfo], evidence: Evidence, moment: Moment
    ) -> list[DomainEvent]:
        """Return who came and went since the listing before, and remember it."""
        domain_events = [
            self._enter(_went(one, evidence.ends.get(one.domid), evidence, moment))
            for one in self.missing(sightings)
        ]
        # Who ended before who runs: a domain that came back has gone first.
        news = sorted(self.news(sightings), key=lambda seen: seen.running)
        return domain_events + [self._enter(self._passage(one, evidence, moment)) for one in news]

    def _is_news(self, seen: DomainInfo) -> bool:
        if seen.domid == DOM0:
            return False
        if _known(self.present, seen):
            return not seen.running
        return seen.running and bool(seen.name)

    def _passage(self, seen: DomainInfo, evidence: Evidence, moment: Moment) -> DomainEvent:
        if seen.running:
            return self._came(seen, evidence, moment)
        came = self.present[seen.domid]
        end = seen.shutdown if seen.shutdown is not None else evidence.ends.get(seen.domid)
        return _went(came, end, evidence, moment)

    def _came(self, seen: DomainInfo, evidence: Evidence, moment: Moment) -> DomainEvent:
        by, why = self._who_brought(seen, evidence)
        return DomainEvent(
            Change.CAME, seen.name, seen.uuid, seen.domid, by, why, moment.at, moment.boot_id
        )

    def _who_brought(self, seen: DomainInfo, evidence: Evidence) -> tuple[Initiator, str]:
        before = self.last.get(seen.uuid)
        if before is not None and before.end is ShutdownReason.REBOOT:
            return before.by, f"it is back from the reboot of domid {before.domid}"
        if before is not None and before.end in CRASHES:
            return Initiator.GUEST, f"it is back after domid {before.domid} crashed"
        if _we_created(seen, evidence.traces.get(seen.name)):
            return Initiator.US, "lamplighter up created it"
        if not evidence.gapless:
            return Initiator.UNKNOWN, "it came while nobody looked"
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


def _known(present: Mapping[int, DomainEvent], seen: DomainInfo) -> bool:
    """Say whether this incarnation came; domids are not used twice in a boot, UUIDs may be."""
    came = present.get(seen.domid)
    return came is not None and came.uuid == seen.uuid


def _went(
    came: DomainEvent, end: ShutdownReason | None, evidence: Evidence, moment: Moment
) -> DomainEvent:
    by, why = _who_ended(came, end, evidence)
    return came._replace(
        way=Change.WENT, by=by, why=why, at=moment.at, boot_id=moment.boot_id, end=end
    )


def _who_ended(
    came: DomainEvent, end: ShutdownReason | None, evidence: Evidence
) -> tuple[Initiator, str]:
    if end in CRASHES:
        return Initiator.CRASH, CRASHES[end]
    moved = evidence.moves.get(came.domid)
    if moved is not None and moved.after in STOPPING and moved.uuid in (None, came.uuid):
        return _what_we_did(end, moved)
    if came.domid in evidence.doubtful:
        did = ENDS[end][0] if end in ENDS else "went"
        return (
            Initiator.UNKNOWN,
            f"it {did} while lamplighter down ran, which did not write that it asked it",
        )
    if end is ShutdownReason.SUSPEND:
        return Initiator.TOOL, "another tool suspended it, to save or to move it"
    if end is not None:
        return _who_asked(end, evidence.asked.get(came.domid))
    if came.domid in evidence.asked:
        return Initiator.TOOL, "another tool asked it to shut down; how it ended was not seen"
    if not evidence.gapless:
        return Initiator.UNKNOWN, "it went while nobody looked"
    return Initiator.TOOL, "another tool destroyed it: it is gone without having shut down"


def _who_asked(end: ShutdownReason, word: str | None) -> tuple[Initiator, str]:
    did, asked = ENDS[end]
    if word is None:
        return Initiator.GUEST, f"it {did} by itself"
    return Initiator.TOOL, f"it {did}: another tool asked it to {word or asked}"


def _we_created(seen: DomainInfo, trace: LastRecord | None) -> bool:
    """Say whether a run of this boot is creating the domain, or has seen this domid come.

    A domid is written down only once the toolstack has told it.
    """
    if trace is None:
        return False
    moved, result = trace.moved, trace.result
    if moved is not None and moved.after in (Phase.CREATING, Phase.BOOTING, Phase.UP):
        goes_on = trace.settled is None or moved.at > trace.settled
        if moved.domid == seen.domid or (moved.domid is None and goes_on):
            return True
    return (
        trace.direction is Direction.UP
        and result is not None
        and (result.domid, result.outcome) == (seen.domid, Outcome.STARTED)
    )


def _what_we_did(end: ShutdownReason | None, moved: Transition) -> tuple[Initiator, str]:
    if moved.after is Phase.FORCING:
        return Initiator.US, "lamplighter down destroyed it"
    if end is ShutdownReason.REBOOT:
        return Initiator.GUEST, "it rebooted while lamplighter down was stopping it"
    did = ENDS[end][0] if end in ENDS else "ended"
    return Initiator.US, f"it {did}: lamplighter down asked it to"
