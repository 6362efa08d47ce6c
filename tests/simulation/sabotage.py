"""Deliberate defects, each one line of the product, that the simulation has to find.

A sabotage replaces a text that stands exactly once in a module, when that module is imported. So
each runs in a process of its own, and one whose text has gone from the product says so.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.saw import Saw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    from tests.simulation.saw import Sights


class Sabotage(NamedTuple):
    """One line of one module, and what it is replaced with.

    ``needs`` is what a story has to have in it, as far as that is counted, for the defect to show.
    Seeds whose story has it without the defect, too, are tried first; then all the others.
    """

    module: str
    right: str
    wrong: str
    needs: tuple[Saw, ...] = ()

    def promising(self, sights: Mapping[int, Sights]) -> list[int]:
        """Return the seeds that are to be tried first, those with the most of it at the head."""
        chances = {
            seed: min((seen[one] for one in self.needs), default=0) for seed, seen in sights.items()
        }
        return sorted((seed for seed in chances if chances[seed]), key=lambda seed: -chances[seed])


#: By what each does wrong. Those of plan, recovery and runner come first.
SABOTAGES = {
    # --- the plan ---
    "what runs is created once more": Sabotage(
        "lamplighter.engine.plan",
        "    seen = listing.newest(definition.known_by)\n",
        "    seen = None\n",
    ),
    "what is being created already is created beside it": Sabotage(
        "lamplighter.engine.plan",
        "        resume = Phase.CREATING if creating else None\n",
        "        resume = None\n",
        needs=(Saw.GUEST_REBOOTED, Saw.LIST_FAILED),
    ),
    "who was only asked by a dead run is destroyed by the next": Sabotage(
        "lamplighter.engine.plan",
        "resume=resume if resume in (Phase.ACKNOWLEDGED, Phase.FORCING) else None",
        "resume=Phase.FORCING if resume else None",
        needs=(Saw.KILL_AFTER_WORD,),
    ),
    "what another tool has saved is started over its disks": Sabotage(
        "lamplighter.engine.plan",
        "        if not by_hand and away is not None:\n",
        "        if False and away is not None:\n",
        needs=(Saw.AWAY,),
    ),
    "what is seen suspended is not known to be away": Sabotage(
        "lamplighter.engine.intent",
        "            if meant is not Meant.AWAY:\n",
        "            if False:\n",
        needs=(Saw.AWAY,),
    ),
    "a listing that failed before the plan counts as an empty one": Sabotage(
        "lamplighter.service.run.prepare",
        "            if attempt == timing.LIST_ATTEMPTS or isinstance(error, CallTimedOut):\n"
        "                raise",
        "            return []\n"
        "            if attempt == timing.LIST_ATTEMPTS:\n"
        "                raise",
        needs=(Saw.LIST_FAILED,),
    ),
    "what an administrator asked for by name is not kept": Sabotage(
        "lamplighter.engine.prepare", "    if names:\n", "    if not names:\n"
    ),
    # --- recovery ---
    "runs that died are never completed": Sabotage(
        "lamplighter.engine.recovery",
        "        yield Close(unfinished.run.id)\n",
        "        yield from ()\n",
    ),
    "what a dead run was moving gets no end": Sabotage(
        "lamplighter.engine.recovery",
        "            yield Settle(unfinished.run.id, result)\n",
        "            yield from ()\n",
        needs=(Saw.RUN_DIED,),
    ),
    "a crash that a dead run did not live to see is called clean": Sabotage(
        "lamplighter.engine.recovery",
        "        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT:\n",
        "        case ShutdownReason.POWEROFF | ShutdownReason.REBOOT | ShutdownReason.CRASH:\n",
        needs=(Saw.RUN_DIED, Saw.FAILED),
    ),
    # --- the runner, its workers and what they see ---
    "it is done first and written down afterwards": Sabotage(
        "lamplighter.service.run.runner",
        "        await self._recorder.transition(transition)\n",
        "        asyncio.get_running_loop().call_later(9, asyncio.ensure_future, "
        "self._recorder.transition(transition))\n",
    ),
    "what came while the others were stopped is left running": Sabotage(
        "lamplighter.engine.timing",
        "LATE_LISTINGS = 3",
        "LATE_LISTINGS = 0",
        needs=(Saw.CALL_SLOW, Saw.CAME_BACK),
    ),
    "that a run has ended is not written": Sabotage(
        "lamplighter.service.run.runner",
        "        await recorder.finish(ended, status)\n",
        "        pass\n",
    ),
    "a hold that comes after the plan is not looked for": Sabotage(
        "lamplighter.service.run.runner",
        "        return hold.description if hold is not None else None\n",
        "        return None\n",
        needs=(Saw.WITHHELD,),
    ),
    "a run that is told to end does not tell its workers": Sabotage(
        "lamplighter.service.run.runner",
        "            worker.mailbox.interrupt(why)\n        if self._planning",
        "            pass\n        if self._planning",
        needs=(Saw.INTERRUPTED, Saw.CREATED),
    ),
    "a run that is told to end waits for its last look": Sabotage(
        "lamplighter.service.run.runner",
        "            self._planning.cancel()\n",
        "            pass\n",
        needs=(Saw.INTERRUPTED, Saw.LIST_FAILED),
    ),
    "what a run that is told to end had queued is created all the same": Sabotage(
        "lamplighter.service.run.worker",
        "            if self.mailbox.interrupted:\n",
        "            if False:\n",
        needs=(Saw.INTERRUPTED, Saw.CREATED),
    ),
    "a run that is told to end waits for a scope that systemd does not start": Sabotage(
        "lamplighter.service.run.worker",
        "create(definition, ending=self._context.ending)",
        "create(definition)",
        needs=(Saw.SCOPE_QUEUED,),
    ),
    "a run that is told to drop everything does not": Sabotage(
        "lamplighter.service.run.runner",
        "                    task.cancel()\n",
        "                    pass\n",
        needs=(Saw.DROPPED,),
    ),
    "a listing that failed counts as an empty one": Sabotage(
        "lamplighter.service.observer",
        "                    viewer.listing_failed(number, error.message)\n",
        "                    viewer.listed(Listing((), number))\n",
        needs=(Saw.LIST_FAILED, Saw.CREATED),
    ),
    # --- the decisions ---
    "the time of a stop is half of what policy says": Sabotage(
        "lamplighter.engine.stop.state",
        "return self.begun + self.stop_timeout + self.granted",
        "return self.begun + self.stop_timeout / 2",
        needs=(Saw.DESTROYED,),
    ),
    "what ended in time and was not seen in time is forced": Sabotage(
        "lamplighter.engine.stop.machine",
        "        if state.final_listing_at < state.deadline:\n",
        "        if False:\n",
        needs=(Saw.LIST_OLD,),
    ),
    "what has shut down is destroyed although its reaper lives": Sabotage(
        "lamplighter.engine.stop.machine",
        "lives=True) if now < state.reaper_until:\n",
        "lives=True) if False:\n",
        needs=(Saw.IN_TIME, Saw.CLEAN),
    ),
    "a stop that was forced is called clean": Sabotage(
        "lamplighter.engine.stop.outcome",
        "return Finish(Outcome.FORCED, note, good=False)",
        "return Finish(Outcome.CLEAN, note)",
        needs=(Saw.FORCED,),
    ),
    "a guest that has forced its own end is called clean": Sabotage(
        "lamplighter.engine.stop.outcome",
        "    by_itself = reason in (ShutdownReason.POWEROFF, ShutdownReason.REBOOT)\n",
        "    by_itself = False\n",
        needs=(Saw.CUT_OFF,),
    ),
    "more time is granted and not given": Sabotage(
        "lamplighter.engine.stop.state",
        "return self.begun + self.stop_timeout + self.granted",
        "return self.begun + self.stop_timeout",
        needs=(Saw.GRANTED, Saw.CLEAN),
    ),
    "holds are forgotten": Sabotage(
        "lamplighter.formats.state_json",
        'for entry in get_list(document, "holds")',
        "for entry in ()",
        needs=(Saw.HELD_DOWN,),
    ),
    "the host's stop means that a domain is to be down": Sabotage(
        "lamplighter.engine.intent",
        "came_up = last_record.direction is Direction.UP and last_record.result.outcome in (",
        "came_up = last_record.result.outcome in (Outcome.CLEAN,",
        needs=(Saw.LAST_UP,),
    ),
}


class _Loader(SourceFileLoader):
    sabotage: Sabotage

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source with its defect, past the cache of compiled files."""
        source = self.get_data(self.path).decode()
        found = source.count(self.sabotage.right)
        if found != 1:
            raise SystemExit(f"{fullname} holds the text to be replaced {found} times")
        return compile(source.replace(self.sabotage.right, self.sabotage.wrong), self.path, "exec")


class _Saboteur(MetaPathFinder):
    def __init__(self, sabotage: Sabotage) -> None:
        self._sabotage = sabotage

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._sabotage.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.sabotage = self._sabotage
        spec.loader = loader
        return spec


def commit(name: str) -> None:
    """Have a module imported with its defect; it must not have been imported yet."""
    sabotage = SABOTAGES[name]
    if sabotage.module in sys.modules:
        raise SystemExit(f"{sabotage.module} has been imported already")
    sys.meta_path.insert(0, _Saboteur(sabotage))
