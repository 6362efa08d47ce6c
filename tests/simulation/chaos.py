"""From a seed to a story: a few domains, a few boots, and much that goes wrong.

After each story comes the calm: whatever happened, an undisturbed ``up`` brings up exactly what is
wanted, and an undisturbed ``down`` ends everything, and no run is left without an end.
"""

from __future__ import annotations

import asyncio
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.embedded.access import DOM0
from lamplighter.embedded.faults import Fault, How
from lamplighter.errors import CallFailed, XenStoreError
from lamplighter.host.journal_reader import JournalReader
from lamplighter.model.intent import Hold
from lamplighter.model.outcome import Outcome
from lamplighter.model.plan import Direction
from lamplighter.xenstore import paths
from tests import virtual
from tests.simulation.world import CLOCK, Boot, Broken, Fate, MortalJournal, World, quietly

if TYPE_CHECKING:
    import random

#: No story lasts longer, in virtual seconds: a run that does not end is a defect.
LONGEST = 3600.0

#: The disk is not what is tried here.
MEMORY = Path("/dev/shm")

#: Guests that do as they are told, and guests that do not.
OBEDIENT = ("prompt", "slow")
TEMPERS = (*OBEDIENT, "deaf", "hangs", "reboots", "crashes", "ignores-while-booting", "quits")

#: Starts with the host, and how a domain ends up that an administrator said nothing about.
STARTS = ("always", "always", "last-state", "never")


class Said(NamedTuple):
    """What the administrator said last of a domain; None where a kill may have swallowed it."""

    up: bool | None = None
    held: bool = False


class Story:
    """One seed's story."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = World(folder, seed)
        self.chance: random.Random = self.world.chance
        self.starts: dict[str, str] = {}
        self.tempers: dict[str, str] = {}
        self.said: dict[str, Said] = {}
        self.troubled = False
        for number in range(self.chance.randint(1, 4)):
            self._define(f"d{number}")

    def _define(self, name: str) -> None:
        start, temper = self.chance.choice(STARTS), self.chance.choice(TEMPERS)
        if start == "last-state":
            temper = self.chance.choice(OBEDIENT)  # what others do by themselves is intent, too
        self.starts[name], self.tempers[name], self.said[name] = start, temper, Said(up=False)
        keys = {"embedded_boot": f"{self.chance.randint(1, 30) / 10}s"}
        if temper == "quits":
            keys["embedded_after"] = f"{self.chance.randint(1, 200) / 10}s"
        self.world.define(name, temper, start, **keys)

    async def tell(self) -> None:
        """Let it happen."""
        for _ in range(self.chance.randint(1, 2)):
            await self.world.boot(self._boot)
        await self.world.boot(self._calm)

    # --- what happens ---

    async def _boot(self, boot: Boot) -> None:
        self.troubled = False
        for _ in range(self.chance.randint(1, 3)):
            await self._trouble(boot)
            await self._act(boot)
            boot.witness.ask()
            await CLOCK.sleep(self.chance.choice((0.0, 0.0, 0.5, 5.0, 30.0)))
        if self.chance.random() < 0.2:
            self.world.tell("the power is cut in the middle of a command")
            direction, seconds = self.chance.choice(tuple(Direction)), self.chance.random() * 10
            await quietly(boot.command(direction, power_cut=seconds))

    async def _trouble(self, boot: Boot) -> None:
        """Prepare what will go wrong."""
        if self.chance.random() < 0.2:
            boot.later(self.chance.random() * 10, self._restart_xenstore)
        if self.chance.random() < 0.1:
            boot.later(self.chance.random() * 10, self._kill_reaper)
        if self.chance.random() < 0.3:
            await self._reboot_guest(boot)
            await CLOCK.sleep(self.chance.random() * 4)
        if self.chance.random() < 0.5:
            return
        self.troubled = True
        call = self.chance.choice(("list", "create", "destroy", "epitaph", "creating"))
        how = self.chance.choice(tuple(How))
        fault = Fault(how, self.chance.choice((0.5, 4.0, 12.0)))
        times = self.chance.randint(1, 10 if call == "list" else 3)
        boot.embedded.faults.set(call, fault, times)
        self.world.tell(f"trouble: the next {times} {call}: {how.value} {fault.seconds}")

    async def _restart_xenstore(self, boot: Boot) -> None:
        self.world.tell("trouble: XenStore is restarted")
        await boot.embedded.xenstore.interrupt(self.chance.random() * 2)

    async def _reboot_guest(self, boot: Boot) -> None:
        """Another tool has a guest reboot."""
        guests = [seen for seen in boot.embedded.xl.list()[1:] if seen.running]
        if guests:
            domid = self.chance.choice(guests).domid
            session = boot.embedded.store.connect(DOM0, lambda path, token: None)
            with suppress(XenStoreError):
                session.write(paths.control_shutdown(domid), b"reboot")
                self.world.tell(f"trouble: domid {domid} is told to reboot")
            session.close()

    async def _kill_reaper(self, boot: Boot) -> None:
        guests = boot.embedded.xl.list()[1:]
        if guests:
            domid = self.chance.choice(guests).domid
            with suppress(CallFailed):
                boot.embedded.xl.kill_reaper(domid)
                self.world.tell(f"trouble: the reaper of domid {domid} is killed")

    async def _act(self, boot: Boot) -> None:
        direction = self.chance.choice(tuple(Direction))
        names = self._names()
        killed_after = self.chance.choice((None, self.chance.randint(0, 40)))
        if self.chance.random() < 0.25:
            await self._word()
        self._hear(direction, names, certain=False)
        ended = await quietly(
            boot.command(
                direction,
                names,
                killed_after=killed_after,
                lies=self.chance.choice((0.0, 0.0, 0.2)),
                deaf=self.chance.choice((0.0, 0.0, 0.15)),
            )
        )
        if ended:
            self._hear(direction, names, certain=True)
        if ended and direction is Direction.DOWN and not names and not self.troubled:
            await CLOCK.sleep(10)
            if boot.running():
                raise Broken(f"a whole down left {boot.running()} running")

    def _names(self) -> list[str]:
        if self.chance.random() < 0.6:
            return []
        return [name for name in self.said if self.chance.random() < 0.5]

    async def _word(self) -> None:
        """Hold or release a domain, at once and undisturbed."""
        name = self.chance.choice(tuple(self.said))
        key = f"00000000-0000-4000-8000-{int(name[1:]) + 1:012}"
        held = not self.said[name].held
        journal = MortalJournal.open(self.world.folder / "state", threaded=False)
        assert isinstance(journal, MortalJournal)
        journal.fate = Fate(None)
        try:
            if held:
                await journal.hold(Hold(key, name, "simulated", "the story", CLOCK.wall()))
            else:
                await journal.release(key, "the story", CLOCK.wall())
        finally:
            await journal.close()
        self.said[name] = self.said[name]._replace(held=held)
        self.world.tell(f"{name} is {'held' if held else 'released'}")

    def _hear(self, direction: Direction, names: list[str], *, certain: bool) -> None:
        """Remember what was said; a held domain is not meant to be up because somebody tried."""
        for name in names:
            before = self.said[name]
            if direction is Direction.UP and before.held:
                continue
            up = direction is Direction.UP
            self.said[name] = before._replace(up=up if certain else None)

    # --- the calm ---

    async def _calm(self, boot: Boot) -> None:
        await boot.command(Direction.UP)
        running = boot.running()
        for name, start in self.starts.items():
            self._is_as_wanted(name, start, name in running)
        await boot.command(Direction.UP)
        again = boot.running()
        for name in set(running) & set(again):
            if running[name] != again[name] and self.tempers[name] in OBEDIENT:
                raise Broken(f"{name} was moved by an up that had nothing to do")
        down = await boot.command(Direction.DOWN)
        await CLOCK.sleep(30)
        if boot.running():
            raise Broken(f"down left {boot.running()} running: {down.results}")
        for result in down.results:
            if self.tempers[result.name] in OBEDIENT and result.outcome is not Outcome.CLEAN:
                raise Broken(f"{result.name} obeys and is not clean: {result}")
        self._history()

    def _is_as_wanted(self, name: str, start: str, runs: bool) -> None:
        said = self.said[name]
        if said.held or start == "never":
            if runs:
                raise Broken(f"{name} was started, although it is held or never to be started")
            return
        if start == "always" and not runs and self.tempers[name] not in ("quits", "crashes"):
            raise Broken(f"{name} is always to be started, and was lost")
        if start == "last-state" and said.up is not None and runs is not said.up:
            raise Broken(f"{name} was meant to be {'up' if said.up else 'down'}, and is not")

    def _history(self) -> None:
        reader = JournalReader(self.world.folder / "state")
        try:
            if reader.unfinished():
                raise Broken("a run was left without an end")
        finally:
            reader.close()


def play(seed: int) -> str:
    """Play one seed's story; return what is wrong and all that happened, or nothing."""
    with tempfile.TemporaryDirectory(prefix="lamp-", dir=MEMORY if MEMORY.is_dir() else None) as to:
        story: list[Story] = []

        async def tell() -> None:
            story.append(Story(Path(to), seed))
            async with CLOCK.timeout(LONGEST):
                await story[0].tell()

        async def main() -> BaseException | None:
            (end,) = await asyncio.gather(tell(), return_exceptions=True)
            return end

        try:
            wrong = virtual.run(main(), seed=seed)
        except RuntimeError as deadlock:
            wrong = deadlock
        if wrong is None:
            return ""
        told = "".join(traceback.format_exception(wrong))
        return "\n".join((f"seed {seed}:", *(story[0].world.log if story else ()), told))
