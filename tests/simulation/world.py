"""A host on virtual time and from a seed, its boots, and the commands that are run on it.

A ``World`` outlives the boots of its host: it has the definitions, the journal and what holds the
administrator has said. A ``Boot`` is one embedded host with a witness on it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.embedded.toolstack.faults import How
from lamplighter.engine import timing
from lamplighter.errors import CallFailed, JournalError, Unreachable, XenStoreError
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.model.run import Direction
from lamplighter.service.inventory import load_inventory
from lamplighter.service.managed_host import Host
from lamplighter.service.run.crash_loops import hold_crash_loops
from lamplighter.service.run.prepare import plan_latecomers, prepare
from lamplighter.service.run.runner import Runner
from tests.simulation.process import (
    CALL_TIMEOUT,
    CLOCK,
    HEALTH,
    Fate,
    Ills,
    MortalIntents,
    MortalJournal,
    MortalToolstack,
    MortalXenStore,
)
from tests.simulation.saw import Saw, Sights
from tests.simulation.wires import Wires
from tests.simulation.witness import STOP_TIMEOUT, Broken, Ear, Witness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamplighter.model.domain import Definition
    from lamplighter.model.policy import Inventory
    from lamplighter.model.run import Run

#: No command lasts longer, in virtual seconds, whatever goes wrong: every run ends.
LONGEST_COMMAND = 400.0

#: A run that was told to end does so in the time that the host's stop gives it, and one that was
#: told to drop everything at once: nothing but the journal's last writes is waited for.
ORDERLY = CALL_TIMEOUT + timing.ORDERLY_END
AT_ONCE = 1.0

POLICY = f"""
[defaults]
start_timeout = "12s"
ack_timeout = "3s"
stop_timeout = "{STOP_TIMEOUT}s"
extend_max = "15s"
hold_after = 0
"""

_HOW = {
    How.FAIL: Saw.CALL_FAILED,
    How.HALF: Saw.CALL_FAILED,  # of any call but create
    How.HANG: Saw.CALL_HUNG,
    How.SLOW: Saw.CALL_SLOW,
}


class Killed(Exception):
    """The process was killed; raised by whoever waited for it."""


class Boot:
    """One boot of the host."""

    def __init__(self, world: World, embedded: EmbeddedHost) -> None:
        self.world = world
        self.embedded = embedded
        self.witness = Witness(embedded, world.state, world.sights, world.note)
        self._to_come: list[asyncio.Task[None]] = []
        self._faults = embedded.faults.before
        embedded.faults.before = self._count_fault  # type: ignore[method-assign]

    def later(self, seconds: float, work: Callable[[Boot], Awaitable[None]]) -> None:
        """Let something happen after a while, if the host is still up by then."""

        async def wait() -> None:
            await CLOCK.sleep(seconds)
            await work(self)

        self._to_come.append(asyncio.get_running_loop().create_task(wait()))

    async def end(self) -> None:
        """Nothing more comes; what went wrong in what came is raised."""
        for task in self._to_come:
            task.cancel()
        ends = await asyncio.gather(*self._to_come, return_exceptions=True)
        self.witness.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def running(self) -> dict[str, int]:
        """Return the domid of each guest that executes, by name."""
        return {seen.name: seen.domid for seen in self.embedded.xl.list()[1:] if seen.running}

    async def _count_fault(self, call: str, meanwhile: AbstractContextManager[None]) -> bool:
        pending = self.embedded.faults._next.get(call)
        if pending:
            how = pending[0].how
            self.world.note(f"      {call}: {how.value}")
            self.witness.disturb()
            half = how is How.HALF and call == "create"
            self.world.sights[Saw.HALF_BUILT if half else _HOW[how]] += 1
            if call == "list" and how is not How.SLOW:
                self.world.sights[Saw.LIST_FAILED] += 1
        return await self._faults(call, meanwhile)

    async def command(
        self, direction: Direction, names: Sequence[str] = (), ills: Ills = HEALTH
    ) -> Run:
        """Run ``up`` or ``down`` as a process of its own; raise ``Killed`` when that ends it."""
        world = self.world
        fate = Fate(ills, world.chance, world.sights)
        fate.unheard = self.witness.unheard
        world.note(f"{direction.value} {' '.join(names)} {ills if ills != HEALTH else ''}")
        loop = asyncio.get_running_loop()
        if ills != HEALTH:
            self.witness.disturb()
        fate.task = task = loop.create_task(self._process(direction, names, fate))
        if ills.power_cut is not None:
            loop.call_later(ills.power_cut, fate.kill, Saw.POWER_CUT_IN_RUN)
        try:
            async with CLOCK.timeout(LONGEST_COMMAND):
                run = await task
        except asyncio.CancelledError:
            if not fate.dead:
                raise
            world.note("  killed")
            raise Killed from None
        except TimeoutError:
            raise Broken(f"{direction.value} did not end in {LONGEST_COMMAND:g} s") from None
        self.witness.ask()
        return run

    async def _process(self, direction: Direction, names: Sequence[str], fate: Fate) -> Run:
        world = self.world
        end = asyncio.Event()
        begins = partial(self._may_begin, end)
        toolstack = MortalToolstack(world.folder / "run", world.wires, fate, begins, end)
        xenstore = await MortalXenStore.of(fate, self.embedded.xenstore_path)
        intents = MortalIntents(world.state, fate)
        await intents.settle()
        journal = MortalJournal.of(fate, world.state)
        try:
            inventory, boot_id = world.inventory, self.embedded.boot_id
            host = Host(
                world.configuration,
                CLOCK,
                toolstack,
                xenstore,
                inventory,
                boot_id,
                intents,
                journal,
            )
            ear = Ear(self.witness, world.note)
            plan = await prepare(host, direction, names)
            late = (
                partial(plan_latecomers, host)
                if direction is Direction.DOWN and not names
                else None
            )
            runner = Runner(host, ear)
            interruption = asyncio.get_running_loop().create_task(
                self._interrupt(runner, fate, end)
            )
            try:
                run = await runner.run(plan, late)
                self._check_end(interruption)
            finally:
                interruption.cancel()
            await hold_crash_loops(host, run)
            return run
        finally:
            fate.dead = True
            try:
                await xenstore.close()
                await journal.close()
            finally:
                journal.let_go()

    async def _interrupt(self, runner: Runner, fate: Fate, end: asyncio.Event) -> None:
        """Tell a run to end, and then to drop everything; it has so long for either."""
        kinds = (Saw.INTERRUPTED, Saw.DROPPED)
        for kind, seconds in zip(kinds, fate.ills.interrupted, strict=False):
            await CLOCK.sleep(seconds)
            self.world.sights[kind] += 1
            end.set()
            runner.interrupt("the story says so")
        if fate.ills.interrupted:
            await CLOCK.sleep(AT_ONCE if len(fate.ills.interrupted) > 1 else ORDERLY)
            raise Broken("a run that was told to end did not")

    @staticmethod
    def _check_end(interruption: asyncio.Task[None]) -> None:
        if interruption.done():
            interruption.result()

    def _may_begin(self, end: asyncio.Event, definition: Definition) -> None:
        """Examine a create at the very moment at which it is decided on."""
        if end.is_set():
            self.witness.object(f"{definition.name} is created by a run that was told to end")
        if definition.name in self.world.held:
            self.witness.object(f"{definition.name} is created, although it is held")


class World:
    """What outlives the boots of the host."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.chance = random.Random(seed)
        self.log: list[str] = []
        self.sights: Sights = Counter()
        self.held: set[str] = set()
        self.wires = Wires()
        self._tables: list[str] = []
        self._parallel = self.chance.choice((1, 2))
        (folder / "domains").mkdir(mode=0o755)

    def define(self, name: str, guest: str, start: str, **keys: str) -> None:
        """Write a definition and its policy."""
        number = len(self._tables) + 1
        values = {
            "name": name,
            "uuid": f"00000000-0000-4000-8000-{number:012}",
            "embedded_guest": guest,
            **keys,
        }
        lines = [f'{key} = "{value}"\n' for key, value in values.items()]
        path = self.folder / "domains" / f"{name}.cfg"
        path.write_text("".join(lines) + "memory = 64\n")
        path.chmod(0o644)
        self.note(f"{name}: {guest}, start {start}, {keys}")
        self._tables.append(f'[domain.{name}]\nstart = "{start}"\n')

    def note(self, what: str) -> None:
        """Keep what happened, for whoever has to understand a seed that failed."""
        self.log.append(f"{CLOCK.monotonic():8.2f}  {what}".replace(str(self.folder), ""))

    @cached_property
    def configuration(self) -> toml.Configuration:
        """What lamplighter.toml says; it is the same for each command."""
        text = (
            '[host]\ntoolstack = "embedded"\ndefinitions = ["domains/*.cfg"]\n'
            f'state = "state"\nrun = "run"\nparallel_starts = {self._parallel}\n'
        )
        text += POLICY + "".join(self._tables)
        return toml.parse(text, str(self.folder / "lamplighter.toml"))

    @cached_property
    def inventory(self) -> Inventory:
        """What the definitions say; they are the same for each command, too."""
        return load_inventory(self.configuration, owner=self.folder.stat().st_uid)

    async def boot(self, story: Callable[[Boot], Awaitable[None]]) -> None:
        """Boot the host, let the story happen on it, and cut its power."""
        seed = self.chance.getrandbits(32)
        self.note("the host boots")
        with self.wires.laid(), _log_to(self.note):
            async with EmbeddedHost(self.folder / "run", CLOCK, seed) as embedded:
                boot = Boot(self, embedded)
                try:
                    await story(boot)
                finally:
                    await boot.end()


class _Log(logging.Handler):
    """Notes what is logged."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(f"  {record.getMessage()}")


@contextmanager
def _log_to(note: Callable[[str], None]) -> Iterator[None]:
    """Note what the product logs while the block lasts."""
    logger, log = logging.getLogger("lamplighter"), _Log(note)
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)


#: What a process may rightly die of when XenStore and the toolstack fail.
EXPECTED = (Unreachable, XenStoreError, JournalError, CallFailed)


async def quietly(work: Awaitable[object]) -> bool:
    """Let a process run that may be killed or fail for a reason outside of it; say if it ended."""
    with suppress(Killed, *EXPECTED):
        await work
        return True
    return False
