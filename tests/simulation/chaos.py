"""From a seed to a story: a few domains, a few boots, and much that goes wrong.

Each boot begins with the host's start, most of the time, and goes on with commands by hand, each
with troubles of its own. It ends with a power cut, in the middle of a command or not, or with the
host's stop. After each story comes the calm (``calm``), in the same boot or the next.
"""

from __future__ import annotations

import asyncio
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.embedded.toolstack.xl import Delays
from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.errors import CallFailed, XenStoreError
from lamplighter.host.journal.intents import IntentStore
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.intent import Hold
from lamplighter.model.run import Direction
from lamplighter.xenstore import paths
from tests import virtual
from tests.simulation.calm import OBEDIENT, Calm, Domain
from tests.simulation.process import CLOCK, HEALTH, Ills
from tests.simulation.saw import Saw, Sights
from tests.simulation.witness import STOP_TIMEOUT, Broken
from tests.simulation.world import Boot, World, quietly

if TYPE_CHECKING:
    import random

#: No story lasts longer, in virtual seconds.
LONGEST = 7200.0

#: The disk is not what is tried here.
MEMORY = Path("/dev/shm")

BEHAVIOURS = (
    "prompt",
    "slow",
    "deaf",
    "hangs",
    "reboots",
    "crashes",
    "ignores-while-booting",
    "quits",
    "noisy",
    "no-drivers",
)

#: Behaviours with which an agent may run. A slow guest would be ended by it, and rightly so.
WITH_AGENT = ("prompt", "hangs", "reboots", "quits", "noisy", "crashes")

#: How long an agent's script takes, and how much more time it asks for. The last one needs it.
SCRIPTS = ((0, 0), (2, 0), (4, 5), (4, 30), (20.5, 15))

#: Starts with the host, and how a domain ends up that an administrator said nothing about.
STARTS = ("always", "always", "last-state", "never")

CALLS = (
    *("list", "list", "create", "destroy", "destroy"),
    *("epitaph", "creating", "press-power", "reaper"),
)

#: How long a guest may take to freeze.
SAVING = 5.0

#: How long a listing takes at a busy host, and taking one domain apart.
LISTING, REAPING = (2.0, 5.0), (1.0, 15.0)


class Story:
    """One seed's story."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = World(folder, seed)
        self.chance: random.Random = self.world.chance
        self.domains: dict[str, Domain] = {}
        self.troubled = False
        for number in range(self.chance.randint(1, 4)):
            self._define(f"d{number}")

    def _define(self, name: str) -> None:
        start, behaviour = self.chance.choice(STARTS), self.chance.choice(BEHAVIOURS)
        if start == "last-state" and behaviour == "quits":
            behaviour = "prompt"  # what it does by itself is intent, too
        self.domains[name] = Domain(start, behaviour)
        keys = {"embedded_boot": f"{self.chance.randint(1, 30) / 10}s"}
        if behaviour == "quits":
            keys["embedded_after"] = f"{self.chance.randint(1, 200) / 10}s"
        if behaviour == "slow":
            keys["embedded_shutdown"] = f"{self.chance.randint(140, 190) / 10}s"
        if behaviour == "no-drivers":
            keys["type"] = "hvm"
        if behaviour in WITH_AGENT and self._luck(0.4):
            keys |= self._agent()
        if self._luck(0.1):
            keys["embedded_linger"] = f"{self.chance.randint(1, 20)}s"
        self.world.define(name, behaviour, start, **keys)

    def _agent(self) -> dict[str, str]:
        """An agent in the guest: its deadline, what its script takes, and what it asks for."""
        script, more = self.chance.choice(SCRIPTS)
        react = 0 if script > STOP_TIMEOUT else self.chance.choice((0, 0, 1, 3))
        return {
            "embedded_agent": "yes",
            "embedded_deadline": f"{self.chance.choice((9, 12, 150))}s",
            "embedded_script": f"{script}s",
            "embedded_more": f"{more}s",
            "embedded_react": f"{react}s",
        }

    def _luck(self, share: float) -> bool:
        return self.chance.random() < share

    async def play(self) -> None:
        """Let it happen."""
        same = self._luck(0.5)
        boots = self.chance.randint(1, 2)
        for number in range(1, boots + 1):
            await self.world.boot(self._last_boot if same and number == boots else self._boot)
        if not same:
            await self.world.boot(Calm(self.world, self.domains).come)

    async def _last_boot(self, boot: Boot) -> None:
        await self._acts(boot)
        await Calm(self.world, self.domains).come_after_trouble(boot)

    async def _boot(self, boot: Boot) -> None:
        await self._acts(boot)
        how = self.chance.random()
        if how < 0.3:
            direction, seconds = self.chance.choice(tuple(Direction)), self.chance.random() * 10
            await quietly(boot.command(direction, ills=Ills(power_cut=seconds)))
        elif how < 0.6:
            self.world.sights[Saw.CLEAN_STOP] += 1
            await quietly(boot.command(Direction.DOWN))
        else:
            self.world.sights[Saw.POWER_CUT] += 1

    async def _acts(self, boot: Boot) -> None:
        self.troubled = False
        if self._luck(0.5):
            await self._start(boot)
        for _ in range(self.chance.randint(1, 3)):
            await self._trouble(boot)
            if self._luck(0.1):
                await self._save(boot)
            if self._luck(0.2):
                await self._take_over(boot)
            else:
                await self._act(boot)
            boot.witness.ask()
            await CLOCK.sleep(self.chance.choice((0.0, 0.0, 0.5, 5.0, 30.0)))

    # --- commands ---

    async def _start(self, boot: Boot) -> None:
        """The host's start, with nothing wrong but, perhaps, a word while it goes on."""
        if self._luck(0.3):
            boot.later(self.chance.random() * 0.2, self._word)
        await boot.command(Direction.UP)

    async def _act(self, boot: Boot) -> None:
        """A command by hand."""
        direction = self.chance.choice(tuple(Direction))
        names = self._names()
        if self._luck(0.25):
            await self._word(boot)
        self._hear(direction, names, certain=False)
        ended = await quietly(boot.command(direction, names, self._ills()))
        if ended:
            self._hear(direction, names, certain=True)
        if ended and direction is Direction.DOWN and not names:
            await self._all_stopped(boot)

    async def _take_over(self, boot: Boot) -> None:
        """The host's stop wins over whatever goes on: that is told to end, once or twice."""
        first = self.chance.random() * self.chance.choice((0.2, 2.0, 15.0))
        when = (first,) if self._luck(0.4) else (first, self.chance.random() * 3)
        direction = self.chance.choice((Direction.UP, Direction.UP, Direction.DOWN))
        if direction is Direction.UP and self._luck(0.5):
            await quietly(boot.command(Direction.DOWN))  # so that there is something to start
        if self._luck(0.4):
            self.troubled = True
            call = self.chance.choice(("create", "destroy", "creating"))
            boot.embedded.faults.set(call, Fault(How.HANG), 1)
        scope = self.chance.random() * 3 if self._luck(0.3) else 0.0
        ills = self._ills()._replace(interrupted=when, scope=scope)
        ended = await quietly(boot.command(direction, ills=ills))
        if await quietly(boot.command(Direction.DOWN)):
            self.world.sights[Saw.STOP_WON] += ended and direction is Direction.UP
            await self._all_stopped(boot)

    async def _all_stopped(self, boot: Boot) -> None:
        """A whole stop that ended in order, with nothing wrong around it, has left nothing."""
        if self.troubled:
            return
        await CLOCK.sleep(10)
        if boot.running():
            raise Broken(f"a whole down left {boot.running()} running")
        self.world.sights[Saw.STOPPED_ALL] += 1

    def _ills(self) -> Ills:
        if self._luck(0.3):
            return HEALTH
        return Ills(
            killed_after=self.chance.choice((None, self.chance.randint(0, 60))),
            lies=self.chance.choice((0.0, 0.0, 0.2)),
            old=self.chance.choice((0.0, 0.0, 0.3)),
            deaf=self.chance.choice((0.0, 0.0, 0.15)),
        )

    def _names(self) -> list[str]:
        if self._luck(0.6):
            return []
        return [name for name in self.domains if self._luck(0.5)]

    def _hear(self, direction: Direction, names: list[str], *, certain: bool) -> None:
        """Remember what was said; a held domain is not meant to be up because somebody tried."""
        for name in names:
            up = direction is Direction.UP
            if not (up and name in self.world.held):
                domain = self.domains[name]
                domain.up = up if certain else None
                if up and domain.away is not False:
                    domain.away = False if certain else None

    async def _save(self, boot: Boot) -> None:
        """Another tool saves a domain, and takes it apart once a run has seen it suspended."""
        obedient = [
            seen
            for seen in boot.embedded.xl.list()[1:]
            if seen.running and seen.name and self.domains[seen.name].behaviour in OBEDIENT
        ]
        if not obedient:
            return
        seen = self.chance.choice(obedient)
        session = boot.embedded.store.connect(DOM0, lambda path, token: None)
        with suppress(XenStoreError):
            session.write(paths.control_shutdown(seen.domid), b"suspend")
        session.close()
        boot.witness.disturb()
        await CLOCK.sleep(SAVING)
        listed = {one.domid: one.shutdown for one in boot.embedded.xl.list()}
        if listed.get(seen.domid) is not ShutdownReason.SUSPEND:
            return
        self.world.sights[Saw.SAVED] += 1
        self.world.note(f"{seen.name} is saved as domid {seen.domid}")
        known = await quietly(boot.command(Direction.UP))
        self.domains[seen.name].away = True if known else None
        with suppress(CallFailed):
            await boot.embedded.xl.destroy(seen.domid)

    async def _word(self, boot: Boot) -> None:
        """Hold or release a domain, undisturbed; it counts from the moment it is on disk."""
        world, name = self.world, self.chance.choice(tuple(self.domains))
        key = f"00000000-0000-4000-8000-{int(name[1:]) + 1:012}"
        held = name not in world.held
        intents = IntentStore(world.state, CLOCK)
        if held:
            await intents.hold(Hold(key, name, "simulated", "the story", CLOCK.wall()))
            world.held.add(name)
        else:
            world.held.discard(name)
            await intents.release(key)
        world.note(f"{name} is {'held' if held else 'released'}")

    # --- troubles ---

    async def _trouble(self, boot: Boot) -> None:
        """Prepare what will go wrong."""
        if self._luck(0.3):
            self._keep_busy(boot)
        if self._luck(0.2):
            boot.later(self.chance.random() * 10, self._restart_xenstore)
        if self._luck(0.15):
            boot.later(self.chance.random() * 10, self._kill_reaper)
        if self._luck(0.2):
            boot.later(self.chance.random() * 10, self._reboot_guest)
        if self._luck(0.2):
            await self._reboot_guest(boot)
            await CLOCK.sleep(self.chance.random() * 4)
        for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2))):
            self.troubled = True
            if self._luck(0.5):
                await self._spoil_calls(boot)
            else:
                boot.later(self.chance.random() * 20, self._spoil_calls)

    def _keep_busy(self, boot: Boot) -> None:
        """From now on to the calm the host has much else to do."""
        busy = Delays(self.chance.uniform(*LISTING), self.chance.uniform(*REAPING))
        boot.embedded.xl.busy = busy
        self.world.sights[Saw.BUSY] += 1
        self.world.note(f"trouble: {busy}")

    async def _spoil_calls(self, boot: Boot) -> None:
        call, how = self.chance.choice(CALLS), self.chance.choice(tuple(How))
        fault = Fault(how, self.chance.choice((0.5, 4.0, 12.0)))
        times = self.chance.randint(1, 10 if call == "list" else 3)
        boot.embedded.faults.set(call, fault, times)
        self.world.note(f"trouble: the next {times} {call}: {how.value} {fault.seconds}")

    async def _restart_xenstore(self, boot: Boot) -> None:
        self.world.sights[Saw.XENSTORE_LOST] += 1
        self.world.note("trouble: XenStore is restarted")
        boot.witness.disturb()
        await boot.embedded.xenstore.interrupt(self.chance.random() * 2)

    async def _reboot_guest(self, boot: Boot) -> None:
        """Another tool has a guest reboot."""
        guests = [seen for seen in boot.embedded.xl.list()[1:] if seen.running]
        if guests:
            domid = self.chance.choice(guests).domid
            session = boot.embedded.store.connect(DOM0, lambda path, token: None)
            with suppress(XenStoreError):
                session.write(paths.control_shutdown(domid), b"reboot")
                self.world.sights[Saw.GUEST_REBOOTED] += 1
                self.world.note(f"trouble: domid {domid} is told to reboot")
            session.close()

    async def _kill_reaper(self, boot: Boot) -> None:
        guests = boot.embedded.xl.list()[1:]
        if guests:
            domid = self.chance.choice(guests).domid
            with suppress(CallFailed):
                boot.embedded.xl.kill_reaper(domid)
                boot.witness.disturb()
                self.world.sights[Saw.REAPER_KILLED] += 1
                self.world.note(f"trouble: the reaper of domid {domid} is killed")


class Told(NamedTuple):
    """A story as it went. ``wrong`` is what broke an invariant; empty when nothing did."""

    log: list[str]
    sights: Sights
    wrong: str


def play(seed: int) -> Told:
    """Play one seed's story."""
    with tempfile.TemporaryDirectory(prefix="lamp-", dir=MEMORY if MEMORY.is_dir() else None) as to:
        story: list[Story] = []

        async def play() -> None:
            story.append(Story(Path(to), seed))
            async with CLOCK.timeout(LONGEST):
                await story[0].play()

        async def main() -> BaseException | None:
            (end,) = await asyncio.gather(play(), return_exceptions=True)
            return end

        try:
            wrong = virtual.run(main(), seed=seed)
        except RuntimeError as stuck:
            wrong = stuck
        told = "".join(traceback.format_exception(wrong)) if wrong is not None else ""
        if not story:
            return Told([], Sights(), told)
        return Told(story[0].world.log, story[0].world.sights, told)
