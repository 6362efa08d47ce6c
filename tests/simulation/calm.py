"""The calm after a story, whatever happened in it: nothing goes wrong any more, and all is well.

An undisturbed ``up`` brings up exactly what is wanted; another one moves nothing; an undisturbed
``down`` ends everything, and who obeys is told to be clean; and every run that ever began has an
end, as has every domain that it moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamplighter.embedded.toolstack.xl import Delays
from lamplighter.model.run import Direction, Outcome
from tests.simulation.process import CLOCK
from tests.simulation.saw import Saw
from tests.simulation.witness import Broken, check_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.run import Run
    from tests.simulation.world import Boot, World

#: Guests that do as they are told.
OBEDIENT = ("prompt", "slow", "no-drivers")

#: Guests that may not be there although they are wanted: they end by themselves, or when told to
#: reboot.
FLEETING = ("quits", "crashes")

#: So long after the last trouble every program that a killed run had begun has ended, and every
#: guest that it had asked has done what it will do.
SETTLED = 60.0


@dataclass
class Domain:
    """A domain of the story: when it is to start, what it is like, and what was said of it last.

    ``up`` is whether it was last meant to be up, by a word with its name; None where a kill may
    have swallowed that word. ``away`` is whether another tool has saved it, and nobody asked for
    it since; None where a kill may have swallowed that.
    """

    start: str
    behaviour: str
    up: bool | None = False
    away: bool | None = False


class Calm:
    """What must hold when nothing goes wrong any more."""

    def __init__(self, world: World, domains: Mapping[str, Domain]) -> None:
        self._world = world
        self._domains = domains

    async def come_after_trouble(self, boot: Boot) -> None:
        """The calm in the boot that had the trouble: a stop leaves nothing, then all is well."""
        boot.embedded.faults.clear()
        boot.embedded.xl.busy = Delays()
        await CLOCK.sleep(SETTLED)
        boot.embedded.faults.clear()  # what came meanwhile
        self._world.sights[Saw.CALM_SAME_BOOT] += 1
        await self._stop(boot)
        await self.come(boot)

    async def come(self, boot: Boot) -> None:
        """The calm."""
        await boot.command(Direction.UP)
        running = boot.running()
        for name, domain in self._domains.items():
            self._is_as_wanted(name, domain, name in running)
        await boot.command(Direction.UP)
        again = boot.running()
        for name in set(running) & set(again):
            if running[name] != again[name] and self._domains[name].behaviour in OBEDIENT:
                raise Broken(f"{name} was moved by an up that had nothing to do")
        down = await self._stop(boot)
        for result in down.results:
            obeys = self._domains[result.name].behaviour in OBEDIENT
            if obeys and result.outcome is not Outcome.CLEAN:
                raise Broken(f"{result.name} obeys and is not clean: {result}")
        self._world.sights[Saw.RUN_DIED] += check_record(self._world.state)

    async def _stop(self, boot: Boot) -> Run:
        down = await boot.command(Direction.DOWN)
        await CLOCK.sleep(30)
        if boot.running():
            raise Broken(f"down left {boot.running()} running: {down.results}")
        return down

    def _is_as_wanted(self, name: str, domain: Domain, runs: bool) -> None:
        fleeting = domain.behaviour in FLEETING
        if domain.away is None:
            return
        if domain.away:
            if runs:
                raise Broken(f"{name} was saved by another tool, and was started over its disks")
            self._world.sights[Saw.AWAY] += 1
            return
        if name in self._world.held or domain.start == "never":
            if runs:
                raise Broken(f"{name} was started, although it is held or never to be started")
            self._world.sights[Saw.HELD_DOWN] += name in self._world.held
        elif domain.start == "always":
            if not runs and not fleeting:
                raise Broken(f"{name} is always to be started, and was lost")
            self._world.sights[Saw.WANTED] += runs
        elif domain.up is not None:
            if runs is not domain.up and not (domain.up and fleeting):
                raise Broken(f"{name} was meant to be {'up' if domain.up else 'down'}, and is not")
            self._world.sights[Saw.LAST_UP if runs else Saw.LAST_DOWN] += 1
