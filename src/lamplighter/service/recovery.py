"""Before a run: the record of runs that died is completed, and it is known where they stood.

Whoever calls this holds the host's lock, so every run that has not ended is dead. What is decided
is in ``engine/recovery``; here it is looked at the world and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine import recovery
from lamplighter.errors import JournalError
from lamplighter.service.managed_host import shutdown_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.host.journal.writer import Journal
    from lamplighter.model.domain import DomainInfo, ShutdownReason
    from lamplighter.model.run import Result, Transition, UnfinishedRun
    from lamplighter.service.managed_host import Host


class Recovery:
    """What runs that died left behind on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loose_ends: Sequence[UnfinishedRun] = ()
        self.resume_points: Mapping[str, Transition] = {}
        self.trouble = ""

    async def recover(self, sightings: Sequence[DomainInfo]) -> list[str]:
        """Find what dead runs left, complete their record, and return what a person is to know.

        A record that cannot be read or completed is told, too, and costs no domain anything.
        """
        journal = self._host.journal
        if journal is None:
            return []
        try:
            self._loose_ends = journal.unfinished()
            self.resume_points = recovery.resume_points(self._loose_ends, self._host.boot_id)
            return await self._complete(journal, sightings)
        except JournalError as error:
            return [f"what an earlier run left unfinished is not known: {error}"]

    async def _complete(self, journal: Journal, sightings: Sequence[DomainInfo]) -> list[str]:
        boot_id = self._host.boot_id
        ends = await self._ends(recovery.gone(self._loose_ends, boot_id, sightings))
        results: list[Result] = []
        for step in recovery.steps(self._loose_ends, recovery.World(boot_id, sightings, ends)):
            match step:
                case recovery.Settle(run, result):
                    await journal.settle(run, result, self._host.clock.wall())
                    results.append(result)
                case recovery.Close(run):
                    await journal.close_dead(run, self._host.clock.wall())
        return [self._told(end) for end in self._loose_ends] + [
            f"  {result.name}: {result.outcome.value}: {result.note}" for result in results
        ]

    def _told(self, end: UnfinishedRun) -> str:
        run = end.run
        when = f"{run.started:%Y-%m-%d %H:%M:%S}"
        this = "" if run.boot_id == self._host.boot_id else ", before the host booted"
        left = f"; it was moving {len(end.moved)}" if end.moved else ""
        return f"run {run.id} ({run.direction.value}, {when}{this}) did not end{left}"

    async def _ends(self, domids: Sequence[int]) -> dict[int, ShutdownReason | None]:
        """Ask the toolstack's record why incarnations had shut down that are gone."""
        moved = {m.domid: m for end in self._loose_ends for m in end.moved if m.uuid is not None}
        ends: dict[int, ShutdownReason | None] = {}
        for domid in domids:
            one = moved.get(domid)
            if one is not None and one.uuid is not None:
                ends[domid] = await shutdown_reason(self._host, domid, one.uuid, one.name)
        return ends
