"""A host, its administrator and its misfortunes, on virtual time and from a seed.

A ``World`` outlives the boots of its host: it has the definitions, the journal and what the
administrator has said. A ``Boot`` is one embedded host. A ``Process`` is one command of the
product: it has its own driver, connection to XenStore and journal, and can be killed at any
*moment*, which is before or after any write of the journal and any call to the toolstack. Nothing
of it runs after that, but what it had begun at the host goes on, as programs do.

What must hold is checked where it happens (``Witness``), not from what the product says.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.errors import CallFailed, JournalError, Unreachable, XenStoreError
from lamplighter.formats import configuration as toml
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal import Journal
from lamplighter.host.journal_reader import JournalReader
from lamplighter.host.xenstore import XenStore
from lamplighter.model.lifecycle import Phase
from lamplighter.model.outcome import Outcome
from lamplighter.model.plan import Direction
from lamplighter.service.host import Host
from lamplighter.service.intents import hold_crash_loops
from lamplighter.service.planning import look_again, prepare
from lamplighter.service.roster import load_roster
from lamplighter.service.runner import Runner
from lamplighter.toolstacks.embedded import EmbeddedToolstack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import TypeVar
    from uuid import UUID

    from lamplighter.embedded.recipe import Recipe
    from lamplighter.embedded.xl import Xl
    from lamplighter.model.domain import Definition, Sighting
    from lamplighter.model.outcome import Result
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Run, Transition

    T = TypeVar("T")

CLOCK = LoopClock()
CALL_TIMEOUT = 8.0
STOP_TIMEOUT = 20.0

#: The time of a stop begins a little before its first transition is told.
TOLERANCE = 1.0

POLICY = f"""
[defaults]
start_timeout = "12s"
ack_timeout = "3s"
stop_timeout = "{STOP_TIMEOUT}s"
hold_after = 0
"""


class Killed(Exception):
    """The process was killed; raised by whoever waited for it."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Fate:
    """When a process is killed: at its so many-th moment, or never."""

    def __init__(self, moments: int | None) -> None:
        self._left = moments
        self.dead = False
        self.task: asyncio.Task[object] | None = None

    async def moment(self) -> None:
        """A moment at which the process may be killed; after that nothing of it goes on."""
        if self._left is not None and not self.dead:
            self._left -= 1
            if self._left < 0:
                self.kill()
        if self.dead:
            await asyncio.get_running_loop().create_future()

    def kill(self) -> None:
        """End the process where it is."""
        self.dead = True
        if self.task is not None:
            self.task.cancel()


class MortalJournal(Journal):
    """The product's journal: each write is a moment before and a moment after it."""

    fate: Fate

    async def _write(self, statement: str, values: tuple[object, ...]) -> int:
        await self.fate.moment()
        row = await super()._write(statement, values)
        await self.fate.moment()
        return row


class MortalToolstack(EmbeddedToolstack):
    """The product's driver: calls are moments, and may lie about having failed."""

    def __init__(self, run: Path, fate: Fate, chance: random.Random, lies: float) -> None:
        super().__init__(run, CLOCK, call_timeout=CALL_TIMEOUT)
        self._fate = fate
        self._chance = chance
        self._lies = lies

    async def list(self) -> list[Sighting]:
        await self._fate.moment()
        return await super().list()

    async def create(self, definition: Definition) -> int:
        return await self._act(partial(super().create, definition))

    async def destroy(self, domid: int) -> None:
        return await self._act(partial(super().destroy, domid))

    async def _act(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._fate.moment()
        answer = await call()
        await self._fate.moment()
        if self._chance.random() < self._lies:
            raise CallFailed("it says that it failed")
        return answer


class Witness:
    """Sees what is done to the domains of one boot, and objects."""

    def __init__(self, xl: Xl, state: Path) -> None:
        self._xl = xl
        self._state = state
        self.cut: set[tuple[UUID, int]] = set()
        self.asked: dict[int, float] = {}
        self.objections: list[str] = []
        self._create, self._destroy = xl.create, xl.destroy
        xl.create = self._note_create  # type: ignore[method-assign]
        xl.destroy = self._note_destroy  # type: ignore[method-assign]

    async def _note_create(self, recipe: Recipe) -> int:
        for seen in self._xl.list():
            if seen.running and seen.uuid == recipe.uuid:
                self._object(f"create of {recipe.name}, which runs as domid {seen.domid}")
        if recipe.path in self._xl.creating():
            self._object(f"create of {recipe.name}, which is being created")
        self._on_record(recipe.name, None)
        return await self._create(recipe)

    async def _note_destroy(self, domid: int) -> None:
        for seen in self._xl.list():
            if seen.domid == domid and seen.running and not seen.unborn:
                since = self.asked.get(domid)
                if since is None or CLOCK.monotonic() - since < STOP_TIMEOUT - TOLERANCE:
                    self._object(f"domid {domid} ({seen.name}) was destroyed before its time")
                self.cut.add((seen.uuid, domid))
                self._on_record(seen.name, domid)
        await self._destroy(domid)

    def _on_record(self, name: str, domid: int | None) -> None:
        """What is done to a domain was on disk before it was done.

        A slow call may act long after the run that made it.
        """
        reader = JournalReader(self._state)
        try:
            moves = [m for run in reader.runs() for m in reader.transitions(run.id, name)]
        finally:
            reader.close()
        announced = Phase.CREATING if domid is None else Phase.FORCING
        if not any(m.after is announced and m.domid == domid for m in moves):
            self._object(f"{announced.value} {name} is not on record")

    def _object(self, why: str) -> None:
        """Remember it: what is raised here goes to the product, as the answer to its call."""
        self.objections.append(why)

    def runs(self, result: Result) -> bool:
        """Say whether the incarnation of a result, or any where it names none, executes."""
        return any(
            seen.running
            and not seen.unborn
            and seen.uuid == result.uuid
            and result.domid in (None, seen.domid)
            for seen in self._xl.list()
        )

    def ask(self) -> None:
        """Raise what there is to object to. No domain has two incarnations that execute."""
        if self.objections:
            raise Broken("; ".join(self.objections))
        running = [seen.uuid for seen in self._xl.list() if seen.running]
        if len(set(running)) != len(running):
            raise Broken("a domain runs twice")


class Ear:
    """A listener that passes on to the witness when a stop begins, and keeps what was told."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._direction = Direction.UP
        self._begun: dict[UUID, float] = {}
        self.results: list[Result] = []
        self.messages: list[str] = []

    def began(self, plan: Plan) -> None:
        """The time of a stop begins with the run that makes it."""
        self._direction = plan.direction
        if plan.direction is Direction.DOWN:
            for step in plan.steps:
                if step.sighting is not None:
                    self._begun[step.sighting.uuid] = CLOCK.monotonic()
                    self._witness.asked.setdefault(step.sighting.domid, CLOCK.monotonic())

    def moved(self, transition: Transition) -> None:
        """A domain that came back, or was created since, has the time of its own stop."""
        if transition.domid is not None and transition.uuid is not None:
            begun = self._begun.setdefault(transition.uuid, CLOCK.monotonic())
            self._witness.asked.setdefault(transition.domid, begun)

    def settled(self, result: Result) -> None:
        """What is told to have ended, or not to have begun, does not run at this moment."""
        self.results.append(result)
        over = result.outcome in (Outcome.CLEAN, Outcome.FORCED) or " is gone" in result.note
        failed = self._direction is Direction.UP and result.outcome is Outcome.FAILED
        if (over or failed) and result.uuid is not None and self._witness.runs(result):
            self._witness.objections.append(f"{result.name} runs, and is told to be: {result}")

    def said(self, message: str) -> None:
        if "Traceback" in message:
            raise Broken(message)
        self.messages.append(message)


class Boot:
    """One boot of the host."""

    def __init__(self, world: World, embedded: EmbeddedHost) -> None:
        self.world = world
        self.embedded = embedded
        self._to_come: list[asyncio.Task[None]] = []
        self.witness = Witness(embedded.xl, world.folder / "state")

    def later(self, seconds: float, work: Callable[[Boot], Awaitable[None]]) -> None:
        """Let something happen after a while, if the host is still up by then."""

        async def wait() -> None:
            await CLOCK.sleep(seconds)
            await work(self)

        self._to_come.append(asyncio.get_running_loop().create_task(wait()))

    async def end(self) -> None:
        """Nothing more comes."""
        for task in self._to_come:
            task.cancel()
        await asyncio.gather(*self._to_come, return_exceptions=True)

    def running(self) -> dict[str, int]:
        """Return the domid of each guest that executes, by name."""
        return {seen.name: seen.domid for seen in self.embedded.xl.list()[1:] if seen.running}

    async def command(
        self,
        direction: Direction,
        names: Sequence[str] = (),
        *,
        killed_after: int | None = None,
        lies: float = 0.0,
        deaf: float = 0.0,
        power_cut: float | None = None,
    ) -> Run:
        """Run ``up`` or ``down`` as a process of its own.

        ``killed_after`` so many moments it is killed: ``Killed``. ``lies`` is how probably a call
        that worked says that it failed, ``deaf`` how probably a watch's event is lost. After
        ``power_cut`` seconds it is killed, too, and its caller should end the boot.
        """
        fate = Fate(killed_after)
        tell = self.world.tell
        dies = "" if killed_after is None else f", killed after {killed_after}"
        tell(f"{direction.value} {' '.join(names)} (lies {lies}, deaf {deaf}{dies})")
        task = asyncio.get_running_loop().create_task(
            self._process(direction, names, fate, lies, deaf)
        )
        fate.task = task
        if power_cut is not None:
            asyncio.get_running_loop().call_later(power_cut, fate.kill)
        try:
            run = await task
        except asyncio.CancelledError:
            if not fate.dead:
                raise
            tell("  killed")
            raise Killed from None
        for result in run.results:
            tell(f"  {result.name}: {result.outcome.value} (domid {result.domid}) {result.note}")
        self.witness.ask()
        return run

    async def _process(
        self, direction: Direction, names: Sequence[str], fate: Fate, lies: float, deaf: float
    ) -> Run:
        world = self.world
        toolstack = MortalToolstack(world.folder / "run", fate, world.chance, lies)
        xenstore = await _connect(self.embedded, world.chance, deaf)
        journal = MortalJournal.open(world.folder / "state", threaded=False)
        assert isinstance(journal, MortalJournal)
        journal.fate = fate
        try:
            configuration = world.configuration()
            roster = load_roster(configuration, owner=world.folder.stat().st_uid)
            host = Host(
                configuration, CLOCK, toolstack, xenstore, roster, self.embedded.boot_id, journal
            )
            return await self._run(host, direction, names)
        finally:
            fate.dead = True
            await xenstore.close()
            await journal.close()

    async def _run(self, host: Host, direction: Direction, names: Sequence[str]) -> Run:
        ear = Ear(self.witness)
        plan = await prepare(host, direction, names, ear.said)

        late = partial(look_again, host) if direction is Direction.DOWN and not names else None
        run = await Runner(host, ear).run(plan, late)
        await hold_crash_loops(host, run)
        self._check(run)
        return run

    def _check(self, run: Run) -> None:
        """Nothing is told better than it was."""
        there = {(seen.uuid, seen.domid) for seen in self.embedded.xl.list() if seen.running}
        for result in run.results:
            if result.uuid is None or result.domid is None:
                continue
            one = (result.uuid, result.domid)
            if result.outcome is Outcome.CLEAN and (one in self.witness.cut or one in there):
                raise Broken(f"{result.name} is called clean: {result.note}")
            if result.outcome is Outcome.FORCED and one in there:
                raise Broken(f"{result.name} is called forced and runs")


class World:
    """What outlives the boots of the host."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self._tables: list[str] = []
        self.log: list[str] = []
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
        self.tell(f"{name}: {guest}, start {start}, {keys}")
        self._tables.append(f'[domain.{name}]\nstart = "{start}"\n')

    def tell(self, what: str) -> None:
        """Keep what happened, for whoever has to understand a seed that failed."""
        self.log.append(f"{CLOCK.monotonic():8.2f}  {what}")

    def configuration(self) -> toml.Configuration:
        text = (
            '[host]\ntoolstack = "embedded"\ndefinitions = ["domains/*.cfg"]\n'
            'state = "state"\nrun = "run"\nparallel_starts = 2\n'
        )
        return toml.parse(
            text + POLICY + "".join(self._tables), str(self.folder / "lamplighter.toml")
        )

    async def boot(self, story: Callable[[Boot], Awaitable[None]]) -> None:
        """Boot the host, let the story happen on it, and cut its power."""
        seed = self.chance.getrandbits(32)
        self.tell("the host boots")
        async with EmbeddedHost(self.folder / "run", CLOCK, seed) as embedded:
            boot = Boot(self, embedded)
            try:
                await story(boot)
            finally:
                await boot.end()


async def _connect(embedded: EmbeddedHost, chance: random.Random, deaf: float) -> XenStore:
    """Connect to XenStore; of what its watches tell, some is lost, late or told twice."""
    xenstore = await XenStore.connect(str(embedded.xenstore_path), CLOCK)
    watch = xenstore.watch

    async def unreliable(path: str, fired: Callable[[str], None]) -> object:
        def maybe(event: str) -> None:
            luck = chance.random()
            if luck < deaf:
                return
            if luck < 2 * deaf:
                asyncio.get_running_loop().call_later(3.0, fired, event)
                return
            fired(event)
            if luck < 3 * deaf:
                fired(event)

        return await watch(path, maybe)

    xenstore.watch = unreliable  # type: ignore[method-assign,assignment]
    return xenstore


#: What a process may rightly die of when XenStore and the toolstack fail.
EXPECTED = (Unreachable, XenStoreError, JournalError, CallFailed)


async def quietly(work: Awaitable[object]) -> bool:
    """Let a process run that may be killed or fail for a reason outside of it; say if it ended."""
    with suppress(Killed, *EXPECTED):
        await work
        return True
    return False
