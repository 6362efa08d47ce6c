"""The embedded host's ``xl``: creates and destroys domains and leaves a process for each.

That process, the *reaper*, waits until its domain has shut down, does what the definition says
for the shutdown reason (usually it destroys the domain), and after a reboot waits two seconds and
creates the domain again with another domid and the same UUID. It can be killed; then nothing
destroys the domain, and its shutdown reason is not recorded.

All creations share one lock, as with autoballoon. A domain whose definition states no UUID gets a
new one at each creation, but keeps it through reboots.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from lamplighter.embedded.guests.behaviour import Reaction
from lamplighter.embedded.guests.kernel import GuestKernel
from lamplighter.embedded.toolstack import libxl
from lamplighter.embedded.toolstack.libxl import Names
from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.errors import CallFailed
from lamplighter.model.domain import DomainInfo, Kind, ShutdownReason
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    import random
    from collections.abc import Coroutine, Iterator

    from lamplighter.embedded.guests.behaviour import EmbeddedDefinition
    from lamplighter.embedded.toolstack.hypervisor import Domain, Hypervisor
    from lamplighter.embedded.xenstored.store import Store
    from lamplighter.model.clock import Clock

#: Durations in host seconds: giving a new domain its name, building it, noticing that it shut down,
#: tearing it down, and xl's pause before it starts a rebooted domain again.
NAMING = 0.01
BUILDING = 0.04
REAPING = 0.3
TEARDOWN = 0.02
REBOOT_GAP = 2.0


class Delays(NamedTuple):
    """How much slower the tools are while the control domain is busy, in host seconds.

    A listing takes ``listing`` and shows the state at its beginning, because one call gets all
    domains from the hypervisor. Reapers take ``reaping`` longer, one after another.
    """

    listing: float = 0.0
    reaping: float = 0.0


#: For how many ended incarnations the shutdown reason is kept.
RECORDS_KEPT = 10_000


@dataclass(slots=True, eq=False)
class Resident:
    """A domain that xl created, and its tasks. ``stopped``: it has shut down or was destroyed."""

    domain: Domain
    definition: EmbeddedDefinition
    kernel: GuestKernel | None = None
    running: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class Xl:
    """Creates, lists and destroys the domains of one host."""

    def __init__(
        self, hypervisor: Hypervisor, store: Store, clock: Clock, chance: random.Random
    ) -> None:
        self._hypervisor = hypervisor
        self._store = store
        self._clock = clock
        self._chance = chance
        self._session = store.connect(DOM0, lambda path, token: None)
        self._creating = asyncio.Lock()
        self._reaping = asyncio.Lock()
        self.busy = Delays()
        self._residents: dict[int, Resident] = {}
        self._reapers: dict[int, asyncio.Task[None]] = {}
        self._records: OrderedDict[int, tuple[UUID, ShutdownReason]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._underway: Counter[str] = Counter()
        self._names = Names(store)
        self._names.follow(DOM0)
        libxl.write_control_domain(self._session)

    # --- the calls ---

    async def list_slowly(self) -> list[DomainInfo]:
        """Return the result of ``list`` after the delay of a busy host."""
        domains = self.list()
        await self._clock.sleep(self.busy.listing)
        return domains

    def list(self) -> list[DomainInfo]:
        """Return every domain, including dom0, ordered by domid."""
        return [
            DomainInfo(
                domain.domid,
                domain.uuid,
                self._names.of(domain.domid),
                domain.shutdown,
                domain.dying,
                domain.paused,
                domain.has_run,
            )
            for domain in self._hypervisor.domains()
        ]

    async def create(self, definition: EmbeddedDefinition) -> int:
        """Create and start a domain and its reaper; return the domid."""
        with self.under_way(definition.path):
            resident = await self._create(
                definition, definition.uuid or self._new_uuid(), rebooted=False
            )
        domid = resident.domain.domid
        self._reapers[domid] = self._start(self._reap(resident))
        return domid

    async def create_half(self, definition: EmbeddedDefinition) -> None:
        """Begin to create a domain and stop half way, as if killed."""
        async with self._creating:
            await self._begin(definition, definition.uuid or self._new_uuid())

    def half_built(self, domid: int) -> bool:
        """Return whether nothing will finish this domain; ``NoSuchDomain`` when there is none."""
        domain, resident = self._hypervisor.find(domid), self._residents.get(domid)
        creating = resident is not None and resident.definition.path in self.creating()
        return not domain.has_run and not creating

    def creating(self) -> frozenset[str]:
        """Return the paths of the definitions from which domains are being created."""
        return frozenset(+self._underway)

    async def destroy(self, domid: int) -> None:
        """Destroy a domain; ``NoSuchDomain`` when there is none."""
        domain = self._hypervisor.find(domid)
        resident = self._residents.get(domid)
        if resident is None or domain.domid == DOM0:
            raise CallFailed(f"domain {domid} cannot be destroyed")
        await self._destroy(resident)

    def press_power(self, domid: int) -> None:
        """Press the power button of an HVM domain."""
        domain = self._hypervisor.find(domid)
        kernel = self._residents[domid].kernel if domid in self._residents else None
        if domain.kind is not Kind.HVM:
            raise CallFailed(f"domain {domid} has no power button: it is not an HVM domain")
        if kernel is not None:
            kernel.press_power()

    def shutdown_reason(self, domid: int, uuid: UUID) -> ShutdownReason | None:
        """Return the shutdown reason of an incarnation, if a reaper recorded it."""
        kept_uuid, reason = self._records.get(domid, (None, None))
        return reason if kept_uuid == uuid else None

    def reaper_lives(self, domid: int) -> bool:
        """Return whether a domain's reaper is alive."""
        return domid in self._reapers

    def kill_reaper(self, domid: int) -> None:
        """Kill a domain's reaper; ``CallFailed`` when there is none."""
        reaper = self._reapers.pop(domid, None)
        if reaper is None:
            raise CallFailed(f"domain {domid} has no process that waits for its end")
        reaper.cancel()

    async def close(self) -> None:
        """Cut the power: every guest stops where it is."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    # --- creating ---

    @contextmanager
    def under_way(self, path: str) -> Iterator[None]:
        """Count a domain as being created from this definition during the block."""
        self._underway[path] += 1
        try:
            yield
        finally:
            self._underway[path] -= 1

    async def _create(
        self, definition: EmbeddedDefinition, uuid: UUID, *, rebooted: bool
    ) -> Resident:
        async with self._creating:
            resident = await self._begin(definition, uuid)
            domain = resident.domain
            await self._wait_for_step(BUILDING, resident)
            libxl.describe(self._session, domain, self._clock.wall())
            self._store.introduce(domain.domid)
            resident.kernel = GuestKernel(
                definition.profile,
                partial(self._store.connect, domain.domid),
                self._clock,
                self._chance,
                rebooted=rebooted,
            )
            domain.paused, domain.has_run = False, True
            resident.running = self._start(self._run(resident, resident.kernel))
        return resident

    async def _begin(self, definition: EmbeddedDefinition, uuid: UUID) -> Resident:
        """Create the domain and its nodes, up to the point where it is built."""
        domain = self._hypervisor.create(uuid, definition.kind)
        try:
            if self._names.taken(definition.name):
                raise CallFailed(f"a domain with the name {definition.name} exists already")
            self._hypervisor.populate(domain, definition.memory)
        except CallFailed:
            self._hypervisor.forget(domain)  # nothing of it is left, but its domid is used up
            raise
        self._names.follow(domain.domid)
        resident = self._residents[domain.domid] = Resident(domain, definition)
        await self._wait_for_step(NAMING, resident)
        libxl.make(self._session, domain, definition.name)
        return resident

    async def _wait_for_step(self, seconds: float, resident: Resident) -> None:
        """Wait for a step of building; ``CallFailed`` if the domain is destroyed meanwhile."""
        await self._clock.sleep(seconds)
        if resident.ending is not None:
            raise CallFailed(f"domain {resident.domain.domid} was destroyed while it was built")

    async def _run(self, resident: Resident, kernel: GuestKernel) -> None:
        resident.domain.shutdown = await kernel.run()
        self._store.fire_special(paths.RELEASE_DOMAIN)
        resident.stopped.set()

    def _new_uuid(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)

    # --- ending ---

    async def _destroy(self, resident: Resident) -> None:
        """Tear a domain down once: the first caller starts it, and all callers wait for it."""
        if resident.ending is None:
            resident.ending = self._start(self._take_apart(resident))
        await asyncio.shield(resident.ending)

    async def _take_apart(self, resident: Resident) -> None:
        """Remove the nodes, then the domain; it is listed as dying until its memory is free."""
        domain = resident.domain
        domain.paused = True
        if resident.running is not None:
            resident.running.cancel()
        libxl.remove(self._session, domain.domid)
        domain.dying = True
        await self._clock.sleep(TEARDOWN)
        if resident.definition.profile.linger:
            # @releaseDomain fires when the domain is dead, even if its memory is still mapped.
            self._start(self._forget(resident))
        else:
            await self._forget(resident)
        self._store.release(domain.domid)
        resident.stopped.set()

    async def _forget(self, resident: Resident) -> None:
        """Remove a domain from the listing, once nothing refers to its memory any more."""
        if linger := resident.definition.profile.linger:
            await self._clock.sleep(linger)
        self._hypervisor.forget(resident.domain)
        self._names.leave(resident.domain.domid)
        del self._residents[resident.domain.domid]

    # --- the reaper ---

    async def _reap(self, resident: Resident) -> None:
        """Wait until the domain has shut down and do what its definition says, through reboots."""
        domid, uuid = resident.domain.domid, resident.domain.uuid
        definition = resident.definition
        try:
            while True:
                await resident.stopped.wait()
                with self.under_way(definition.path):
                    domain, reason = resident.domain, resident.domain.shutdown
                    if resident.ending is not None or reason is None:
                        return  # somebody destroyed it
                    self._records[domid] = (uuid, reason)
                    while len(self._records) > RECORDS_KEPT:
                        self._records.popitem(last=False)
                    if reason is ShutdownReason.SUSPEND:
                        return
                    await self._clock.sleep(REAPING)
                    if self.busy.reaping:
                        async with self._reaping:
                            await self._clock.sleep(self.busy.reaping)
                    reaction = definition.reactions.get(reason, Reaction.DESTROY)
                    if reaction is Reaction.RENAME_RESTART:
                        # Keep it under another name and UUID, to free both for its successor.
                        time = self._clock.wall().astimezone(UTC)
                        kept_uuid = self._new_uuid()
                        name = f"{definition.name}-{time:%Y%m%dT%H%MZ}"
                        libxl.rename(self._session, domain, name, kept_uuid)
                        domain.uuid = kept_uuid
                    elif reaction is not Reaction.PRESERVE:
                        await self._destroy(resident)
                    if reaction not in (Reaction.RESTART, Reaction.RENAME_RESTART):
                        return
                    await self._clock.sleep(REBOOT_GAP)
                    resident = await self._create(definition, uuid, rebooted=True)
                self._reapers[resident.domain.domid] = self._reapers.pop(domid)
                domid = resident.domain.domid
        except CallFailed:
            return  # a real xl logs this and ends
        finally:
            self._reapers.pop(domid, None)

    # --- tasks ---

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
