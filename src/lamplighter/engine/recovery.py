"""Recovery: what a run that died left behind, and how the next one goes on.

A run is dead when it has not ended and whoever looks holds the host's lock. Its record then says
for each domain that it had begun with the newest transition, and that was on disk before the call
it announces. So the call was not made, or is being made, or was made; only the world tells which.

The invariant: *nothing that a dead run decided is believed done, and nothing is done again that
the world shows as done*. Two things follow from the record and the world, and nothing else:

- ``steps`` completes the record. Each step takes one loose end away, so that being interrupted
  after any of them and beginning anew leads to the same record as not being interrupted.
- ``resume_points`` says where this run goes on: a domain whose request stands is not asked as if
  for the first time, one that acknowledged is waited for, one whose time was up is not given it
  again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine.guest_force import tells_of_guests_force
from lamplighter.model.domain import Listing, ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.run import Run, Transition, UnfinishedRun


@dataclass(frozen=True, slots=True)
class Settle:
    """Write how a domain's part of a dead run ended."""

    run: int
    result: Result


@dataclass(frozen=True, slots=True)
class Close:
    """Write that a dead run has no loose ends any more."""

    run: int


class World(NamedTuple):
    """What is seen now.

    ``ends`` maps the domid of an incarnation that has gone to why it had shut down, as far as the
    toolstack has a record.
    """

    boot_id: str
    sightings: Sequence[DomainInfo]
    ends: Mapping[int, ShutdownReason | None]


def steps(unfinished_runs: Sequence[UnfinishedRun], world: World) -> Iterator[Settle | Close]:
    """Yield what completes the record of the dead runs, the oldest run first."""
    listing = Listing(world.sightings)
    for end in unfinished_runs:
        for moved in end.moved:
            seen = listing.newest(moved.uuid if moved.uuid is not None else moved.name)
            yield Settle(end.run.id, _concluded(end.run, moved, seen, world))
        yield Close(end.run.id)


def resume_points(unfinished_runs: Sequence[UnfinishedRun], boot_id: str) -> dict[str, Transition]:
    """Return by name where dead runs of this boot left the domains that they were moving.

    The newest word on a domain counts. What another boot left behind went with it.
    """
    return {
        moved.name: moved
        for end in unfinished_runs
        if end.run.boot_id == boot_id
        for moved in end.moved
    }


def gone(
    unfinished_runs: Sequence[UnfinishedRun], boot_id: str, sightings: Sequence[DomainInfo]
) -> list[int]:
    """Return the domids of incarnations that dead runs were stopping and that are not there."""
    there = {seen.domid for seen in sightings}
    return [
        moved.domid
        for end in unfinished_runs
        if end.run.boot_id == boot_id and end.run.direction is Direction.DOWN
        for moved in end.moved
        if moved.domid is not None and moved.domid not in there
    ]


def _concluded(run: Run, moved: Transition, seen: DomainInfo | None, world: World) -> Result:
    outcome, note, good = _end(run, moved, seen, world)
    told = f"the run died while it was {moved.after.value}; {note}"
    return Result(moved.name, moved.uuid, moved.domid, outcome, 0.0, told, good)


def _end(
    run: Run, moved: Transition, seen: DomainInfo | None, world: World
) -> tuple[Outcome, str, bool]:
    if run.boot_id != world.boot_id:
        return Outcome.UNKNOWN, "the host went down before its end was recorded", False
    if run.direction is Direction.UP:
        if seen is not None and seen.running:
            return Outcome.STARTED, f"it runs as domid {seen.domid}", True
        return Outcome.UNKNOWN, "it did not run when the next run began", False
    if seen is not None and seen.running:
        return Outcome.UNKNOWN, f"it ran as domid {seen.domid} when the next run began", False
    if moved.after is Phase.FORCING:
        return Outcome.FORCED, f"destroyed: {moved.detail}", False
    reason = seen.shutdown if seen is not None else world.ends.get(moved.domid or 0)
    match reason:
        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT if tells_of_guests_force(moved.detail):
            return Outcome.FORCED, moved.detail, False
        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT:
            return Outcome.CLEAN, f"its end is on record: {reason.name.lower()}", True
        case ShutdownReason.CRASH | ShutdownReason.WATCHDOG:
            return Outcome.FAILED, f"it ended with a {reason.name.lower()}", False
    return Outcome.UNKNOWN, "it is gone, but nobody saw how it ended", False
