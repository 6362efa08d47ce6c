"""Listing the host, planning, and what a run does before it acts.

``plan`` lists and plans and changes nothing. A run also completes the record of runs that died
(whoever calls this holds the host's lock, so every run that has not ended is dead), learns intent
from what it sees, and writes down what an administrator has just asked for: all of it is on disk
before the first domain is moved. A record that cannot be kept is reported and costs no domain
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine import recovery, timing
from lamplighter.engine.plan import Past, plan_down, plan_up
from lamplighter.errors import (
    CallFailed,
    CallTimedOut,
    JournalError,
    ToolstackUnreachable,
    XenStoreUnreachable,
)
from lamplighter.host.machine import who
from lamplighter.model.domain import Listing
from lamplighter.model.run import Direction
from lamplighter.service.managed_host import shutdown_reason
from lamplighter.service.observer import SAFETY
from lamplighter.service.run.intents import find_intents, learn_intents, read_intents, write_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lamplighter.host.journal.writer import Journal
    from lamplighter.model.domain import DomainInfo, ShutdownReason
    from lamplighter.model.run import Plan, Result, Transition, UnfinishedRun
    from lamplighter.service.managed_host import Host

#: How often the first look is tried, and how many host seconds lie between: without one there
#: can be no run, and a toolstack that failed once may be about to answer.
LIST_ATTEMPTS = 3

LIST_PAUSE = 3.0

#: The process that waited for a domain lives on for a moment when the domain has gone.
LINGER = 0.5

#: What was seen longer ago than this, in host seconds, is looked at again before it is planned on.
FRESH = 1.0


async def list_domains(host: Host) -> Sequence[DomainInfo]:
    """List the domains; a toolstack that fails again and again is ``ToolstackUnreachable``."""
    for attempt in range(1, LIST_ATTEMPTS + 1):
        try:
            return await host.toolstack.list()
        except CallFailed as error:
            if attempt == LIST_ATTEMPTS or isinstance(error, CallTimedOut):
                raise ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "nothing was changed; try again when the toolstack answers",
                ) from error
        await host.clock.sleep(LIST_PAUSE)
    raise AssertionError("the last attempt returns or raises")


async def make_plan(
    host: Host,
    direction: Direction,
    names: Sequence[str],
    tell: Callable[[JournalError], None] | None = None,
) -> Plan:
    """Look at the host and plan; raise ``UsageError`` for a domain nobody knows.

    ``tell`` is told why the journal could not be read, if it could not.
    """
    domains, creating = await _list(host, direction)
    intents = read_intents(host.configuration, tell)
    if direction is Direction.UP:
        intents = intents.updated(await find_intents(host, domains, intents))
    return await _plan(host, direction, names, domains, Past(intents, being_created=creating))


async def prepare(
    host: Host, direction: Direction, names: Sequence[str], tell: Callable[[str], None]
) -> Plan:
    """Look, recover, learn and plan for a run that begins now; raises as ``make_plan`` does.

    ``tell`` is told what a person should know of it.
    """
    if direction is Direction.DOWN and names:
        await _until_nothing_comes(host, names)
    began = host.clock.monotonic()
    domains, creating = await _list(host, direction)
    if host.journal is not None and host.journal.told:
        tell(host.journal.told)
    recovery = Recovery(host)
    for message in await recovery.recover(domains):
        tell(message)
    intents = read_intents(host.configuration)
    try:
        intents = await learn_intents(host, domains, intents)
    except JournalError as error:
        tell(f"what was learned from what is seen cannot be kept: {error}")
    if host.clock.monotonic() - began > FRESH:
        domains, creating = await _list(host, direction)
    past = Past(intents, recovery.resume_points, creating)
    plan = await _plan(host, direction, names, domains, past)
    if names:
        try:
            await write_word(host, plan, who())
        except JournalError as error:
            tell(f"that you asked for this cannot be kept: {error}")
    return plan


async def plan_latecomers(host: Host) -> Plan:
    """Plan the stop of what came since the first look, once nothing more is about to come."""
    await _until_nothing_comes(host)
    return await make_plan(host, Direction.DOWN, ())


async def _until_nothing_comes(host: Host, names: Sequence[str] = ()) -> None:
    """Wait for what is about to come, of these domains or of all.

    What a run that was killed had begun to create, or what reboots, is not listed for a while. It
    is waited for as long as a call to the toolstack may take.
    """
    give_up = host.clock.monotonic() + host.configuration.host.call_timeout.value
    pause = LINGER
    while await _coming(host, names) and host.clock.monotonic() < give_up:
        await host.clock.sleep(pause)
        pause = SAFETY


async def _coming(host: Host, names: Sequence[str]) -> bool:
    """Say whether a domain that files know is being created and is not listed yet."""
    try:
        creating = await host.toolstack.being_created(host.definitions)
        domains = await host.toolstack.list() if creating else ()
    except CallFailed:
        return False  # the look that follows tells it
    uuids, listing = {name.lower() for name in names}, Listing(domains)
    return any(
        managed.definition.key in creating
        and (not names or managed.name in names or managed.definition.key in uuids)
        and listing.newest(managed.definition.known_by) is None
        for managed in host.inventory.domains.values()
    )


async def _plan(
    host: Host,
    direction: Direction,
    names: Sequence[str],
    domains: Sequence[DomainInfo],
    past: Past,
) -> Plan:
    if direction is Direction.UP:
        return plan_up(host.inventory, domains, names, past=past)
    protected = await find_protected(host)
    return plan_down(host.inventory, domains, names, protected=protected, past=past)


async def find_protected(host: Host) -> frozenset[int]:
    """Ask XenStore which domains no stop may touch; a connection that was lost may come back."""
    async with host.xenstore.within(timing.XENSTORE_TIME):
        for _ in range(1, LIST_ATTEMPTS):
            try:
                return await host.protected()
            except XenStoreUnreachable:
                await host.clock.sleep(LIST_PAUSE)
        return await host.protected()


async def _list(host: Host, direction: Direction) -> tuple[Sequence[DomainInfo], frozenset[str]]:
    """List the domains; for a start, also say from which definitions some are being created.

    That is asked before the listing and after it, so that nothing falls between: what was created
    meanwhile is known from before, and what went away to be created anew from after.
    """
    if direction is Direction.DOWN:
        return await list_domains(host), frozenset()
    before = await _being_created(host)
    domains = await list_domains(host)
    return domains, before | await _being_created(host)


async def _being_created(host: Host) -> frozenset[str]:
    """Ask what is being created, more than once: who does not know that creates it once more."""
    for attempt in range(1, LIST_ATTEMPTS + 1):
        try:
            return await host.toolstack.being_created(host.definitions)
        except CallFailed as error:
            if attempt == LIST_ATTEMPTS or isinstance(error, CallTimedOut):
                break
        await host.clock.sleep(LIST_PAUSE)
    return frozenset()  # then a create may fail because the domain is there, and is told so


class Recovery:
    """What runs that died left behind on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loose_ends: Sequence[UnfinishedRun] = ()
        self.resume_points: Mapping[str, Transition] = {}
        self.error = ""

    async def recover(self, domains: Sequence[DomainInfo]) -> list[str]:
        """Find what dead runs left, complete their record, and return what a person is to know.

        A record that cannot be read or completed is told, too, and costs no domain anything.
        """
        journal = self._host.journal
        if journal is None:
            return []
        try:
            self._loose_ends = journal.unfinished()
            self.resume_points = recovery.resume_points(self._loose_ends, self._host.boot_id)
            return await self._complete(journal, domains)
        except JournalError as error:
            return [f"what an earlier run left unfinished is not known: {error}"]

    async def _complete(self, journal: Journal, domains: Sequence[DomainInfo]) -> list[str]:
        boot_id = self._host.boot_id
        ends = await self._ends(recovery.gone(self._loose_ends, boot_id, domains))
        results: list[Result] = []
        for step in recovery.steps(self._loose_ends, recovery.HostState(boot_id, domains, ends)):
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
