"""Recovery after a run that died: completes its record and finds where the next run resumes.

A run is dead when it has not ended and the process that reads its record holds the host's lock. The
record then has the newest transition of each domain that the run had begun with, which was on disk
before the call that it announces. So the call was not made, or is being made, or was made; only the
state of the host shows which.

The invariant: *nothing that a dead run decided is assumed to be done, and nothing is done again
that the host shows as done*. Two results are derived from the record and the host, and from nothing
else:

- ``steps`` completes the record. Each step settles one open item, so a recovery that is interrupted
  after any of them and begins again leads to the same record as one that is not interrupted.
- ``resume_points`` is where this run resumes: a domain that was only asked is asked again, one that
  acknowledged is waited for, and one whose time was up does not get that time again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine.stop.outcome import is_guest_force
from lamplighter.model.domain import Listing, ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.run import Run, Transition, UnfinishedRun


@dataclass(frozen=True, slots=True)
class Settle:
    """Record how a domain's part of a dead run ended."""

    run: int
    result: Result


@dataclass(frozen=True, slots=True)
class Close:
    """Record that nothing of a dead run is left to settle."""

    run: int


class HostState(NamedTuple):
    """The state of the host now.

    ``ends`` maps the domid of an incarnation that is gone to its shutdown reason, as far as the
    toolstack has a record of it.
    """

    boot_id: str
    domains: Sequence[DomainInfo]
    ends: Mapping[int, ShutdownReason | None]


def steps(unfinished_runs: Sequence[UnfinishedRun], host: HostState) -> Iterator[Settle | Close]:
    """Yield what is to be written to complete the record of the dead runs, the oldest first."""
    listing = Listing(host.domains)
    for unfinished in unfinished_runs:
        for moved in unfinished.moved:
            seen = listing.newest(moved.uuid if moved.uuid is not None else moved.name)
            outcome, note, good = _end(unfinished.run, moved, seen, host)
            note = f"the run died while it was {moved.after.value}; {note}"
            result = Result(moved.name, moved.uuid, moved.domid, outcome, 0.0, note, good)
            yield Settle(unfinished.run.id, result)
        yield Close(unfinished.run.id)


def resume_points(unfinished_runs: Sequence[UnfinishedRun], boot_id: str) -> dict[str, Transition]:
    """Return by name where dead runs of this boot left the domains that they were moving.

    The newest transition of a domain counts. The domains of another boot of the host ended with it.
    """
    return {
        moved.name: moved
        for unfinished in unfinished_runs
        if unfinished.run.boot_id == boot_id
        for moved in unfinished.moved
    }


def gone(
    unfinished_runs: Sequence[UnfinishedRun], boot_id: str, domains: Sequence[DomainInfo]
) -> list[int]:
    """Return the domids of incarnations that dead runs were stopping and that are not listed."""
    there = {seen.domid for seen in domains}
    return [
        moved.domid
        for unfinished in unfinished_runs
        if unfinished.run.boot_id == boot_id and unfinished.run.direction is Direction.DOWN
        for moved in unfinished.moved
        if moved.domid is not None and moved.domid not in there
    ]


def _end(
    run: Run, moved: Transition, seen: DomainInfo | None, host: HostState
) -> tuple[Outcome, str, bool]:
    if run.boot_id != host.boot_id:
        return Outcome.UNKNOWN, "the host went down before its end was recorded", False
    if run.direction is Direction.UP:
        if seen is not None and seen.never_ran:
            return Outcome.UNKNOWN, f"it is there as domid {seen.domid} and has never run", False
        if seen is not None and seen.running:
            return Outcome.STARTED, f"it runs as domid {seen.domid}", True
        return Outcome.UNKNOWN, "it did not run when the next run began", False
    if seen is not None and seen.running:
        return Outcome.UNKNOWN, f"it ran as domid {seen.domid} when the next run began", False
    if moved.after is Phase.FORCING:
        return Outcome.FORCED, f"destroyed: {moved.detail}", False
    reason = seen.shutdown if seen is not None else host.ends.get(moved.domid or 0)
    match reason:
        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT if is_guest_force(moved.detail):
            return Outcome.FORCED, moved.detail, False
        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT:
            return Outcome.CLEAN, f"its end is on record: {reason.name.lower()}", True
        case ShutdownReason.CRASH | ShutdownReason.WATCHDOG:
            return Outcome.FAILED, f"it ended with a {reason.name.lower()}", False
    return Outcome.UNKNOWN, "it is gone, but nobody saw how it ended", False
