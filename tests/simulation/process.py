"""One command of the product as a process that can be killed.

It has its own driver, connection to XenStore and journal. It can be killed at any *moment*: before
or after any write of the journal or any transaction with a guest, and before, during or after any
call to the toolstack. Nothing of it runs after that, but what it had begun at the host goes on, as
programs do.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from lamplighter.embedded import CONTROL_SOCKET
from lamplighter.errors import CallFailed, CallNotStarted
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.journal.writer import Journal
from lamplighter.host.xenstore.client import TRANSACTION_ATTEMPTS, XenStore
from lamplighter.toolstacks.embedded import EmbeddedToolstack
from tests.simulation.saw import Saw, Sights
from tests.simulation.wires import WiredControl
from tests.virtual import VirtualClock

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path
    from typing import TypeVar

    from lamplighter.host.xenstore.connection import Watch
    from lamplighter.model.domain import Definition, DomainInfo, ShutdownReason
    from lamplighter.model.intent import Intents
    from tests.simulation.wires import Wires

    T = TypeVar("T")

CLOCK = VirtualClock()
CALL_TIMEOUT = 8.0

#: Who is killed during a call is killed so long after its beginning at the most: a call takes more.
IN_A_CALL = 0.02

#: A watch's event that comes late comes so much later, and a listing's answer no more than that.
LATE = 3.0


class Ills(NamedTuple):
    """What goes wrong with one process.

    ``killed_after`` so many moments it is killed, and after ``power_cut`` seconds, too, whereupon
    its caller should end the boot. ``lies`` is how probably a call that worked says that it
    failed, ``old`` how probably a listing's answer comes late, so that it is old by then, and
    ``deaf`` how probably a watch's event is lost, late or doubled, each. ``interrupted`` says when
    its run is told to end, in seconds from the run's beginning: once, or twice. ``scope`` is how
    many seconds systemd takes to start the scope of a create.
    """

    killed_after: int | None = None
    power_cut: float | None = None
    lies: float = 0.0
    old: float = 0.0
    deaf: float = 0.0
    interrupted: tuple[float, ...] = ()
    scope: float = 0.0


#: systemd starts no scope while it stops the unit that asks for one: longer than any stop may take.
FOR_EVER = 1000.0

#: All goes well.
HEALTH = Ills()


class Fate:
    """When a process is killed: at its so many-th moment, or never."""

    def __init__(self, ills: Ills, chance: random.Random, sights: Sights) -> None:
        self.unheard: set[str] = set()  # paths of which an event was lost or late
        self.ills = ills
        self.chance = chance
        self.sights = sights
        self.dead = False
        self.task: asyncio.Task[object] | None = None
        self._left = ills.killed_after

    def moment(self, kind: Saw) -> None:
        """A moment at which the process may be killed; after that nothing of it goes on."""
        if self._comes():
            self.kill(kind)
        if self.dead:
            raise asyncio.CancelledError

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call to the toolstack, and survive it or not."""
        self.moment(Saw.KILL_BEFORE_CALL)
        answer = await call()
        self.moment(Saw.KILL_AFTER_CALL)
        return answer

    def moment_in_a_call(self) -> None:
        """A moment that comes a little after this one, while the call that now begins goes on."""
        if self._comes():
            self._left = None
            after = self.chance.random() * IN_A_CALL
            asyncio.get_running_loop().call_later(after, self.kill, Saw.KILL_DURING_CALL)

    def kill(self, kind: Saw) -> None:
        """End the process where it is."""
        if not self.dead:
            self.dead = True
            self.sights[kind] += 1
            if self.task is not None:
                self.task.cancel()

    def _comes(self) -> bool:
        if self._left is None or self.dead:
            return False
        self._left -= 1
        return self._left < 0


class MortalJournal(Journal):
    """The product's journal: each write is a moment before and a moment after it."""

    fate: Fate

    async def _write(self, statement: str, *rows: tuple[object, ...]) -> int:
        self.fate.moment(Saw.KILL_BEFORE_WRITE)
        row = await super()._write(statement, *rows)
        self.fate.moment(Saw.KILL_AFTER_WRITE)
        return row

    def let_go(self) -> None:
        """What a process has open is closed with it, however it ends."""
        self._connection.close()

    @classmethod
    def of(cls, fate: Fate, state: Path) -> Self:
        """Open it for a process; it commits on virtual time."""
        journal = cls.open(state, threaded=False)
        assert isinstance(journal, cls)
        journal.fate = fate
        return journal


class MortalIntents(IntentStore):
    """The product's intents and holds: each change is a moment before and a moment after it."""

    def __init__(self, state: Path, fate: Fate) -> None:
        super().__init__(state, CLOCK)
        self._fate = fate

    def _store(self, intents: Intents) -> Intents:
        self._fate.moment(Saw.KILL_BEFORE_WRITE)
        stored = super()._store(intents)
        self._fate.moment(Saw.KILL_AFTER_WRITE)
        return stored


class MortalToolstack(EmbeddedToolstack):
    """The product's driver: calls are moments, and may lie about having failed.

    ``begins`` hears of each create at the very moment at which the product decides on it.
    ``stopping`` is set while systemd stops the unit that the process is of.
    """

    def __init__(
        self,
        run: Path,
        wires: Wires,
        fate: Fate,
        begins: Callable[[Definition], None],
        stopping: asyncio.Event,
    ) -> None:
        super().__init__(run, CLOCK, call_timeout=CALL_TIMEOUT)
        self._control = WiredControl(wires, run / CONTROL_SOCKET, CLOCK, CALL_TIMEOUT)
        self._fate = fate
        self._begins = begins
        self._stopping = stopping

    async def list(self) -> list[DomainInfo]:
        seen = await self._fate.call(super().list)
        if self._fate.chance.random() < self._fate.ills.old:
            self._fate.sights[Saw.LIST_OLD] += 1
            await CLOCK.sleep(self._fate.chance.random() * LATE)
        return seen

    async def being_created(self, definitions: Iterable[Definition]) -> frozenset[str]:
        return await self._fate.call(partial(super().being_created, definitions))

    async def shutdown_reason(self, info: DomainInfo) -> ShutdownReason | None:
        return await self._fate.call(partial(super().shutdown_reason, info))

    async def reaper_lives(self, info: DomainInfo) -> bool:
        return await self._fate.call(partial(super().reaper_lives, info))

    async def create(self, definition: Definition, *, ending: asyncio.Event | None = None) -> None:
        self._begins(definition)
        if self._fate.ills.scope:
            await self._place(ending or asyncio.Event())
        await self._act(partial(super().create, definition))

    async def _place(self, ending: asyncio.Event) -> None:
        """Wait for the scope as the driver of xl does, which gives up when its run is to end."""
        with suppress(TimeoutError):
            async with CLOCK.timeout(self._fate.ills.scope):
                await self._stopping.wait()
        if self._stopping.is_set():
            self._fate.sights[Saw.SCOPE_QUEUED] += 1
            async with CLOCK.timeout(FOR_EVER):
                await ending.wait()
            raise CallNotStarted("it was not begun: the run was told to end")

    async def destroy(self, domid: int) -> None:
        return await self._act(partial(super().destroy, domid))

    async def press_power(self, domid: int) -> None:
        return await self._act(partial(super().press_power, domid))

    async def _act(self, call: Callable[[], Awaitable[T]]) -> T:
        self._fate.moment_in_a_call()
        answer = await self._fate.call(call)
        if self._fate.chance.random() < self._fate.ills.lies:
            self._fate.sights[Saw.CALL_LIED] += 1
            raise CallFailed("it says that it failed")
        return answer


class MortalXenStore(XenStore):
    """The product's client: what is said to a guest is a moment, and events of watches get lost."""

    fate: Fate

    async def transact(
        self, body: Callable[[int], Awaitable[T]], attempts: int = TRANSACTION_ATTEMPTS
    ) -> T:
        self.fate.moment(Saw.KILL_BEFORE_WORD)
        answer = await super().transact(body, attempts)
        self.fate.moment(Saw.KILL_AFTER_WORD)
        return answer

    async def watch(self, path: str, fired: Callable[[str], None]) -> Watch:
        return await super().watch(path, partial(self._maybe, fired))

    def _maybe(self, fired: Callable[[str], None], event: str) -> None:
        luck, deaf = self.fate.chance.random(), self.fate.ills.deaf
        if luck < 2 * deaf:
            self.fate.unheard.add(event)
        if luck < deaf:
            self.fate.sights[Saw.EVENT_LOST] += 1
            return
        if luck < 2 * deaf:
            self.fate.sights[Saw.EVENT_LATE] += 1
            asyncio.get_running_loop().call_later(LATE, fired, event)
            return
        fired(event)
        if luck < 3 * deaf:
            self.fate.sights[Saw.EVENT_TWICE] += 1
            fired(event)

    @classmethod
    async def of(cls, fate: Fate, path: Path) -> Self:
        """Connect for a process."""
        xenstore = await cls.connect(str(path), CLOCK)
        assert isinstance(xenstore, cls)
        xenstore.fate = fate
        return xenstore
