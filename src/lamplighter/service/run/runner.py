"""The runner: journal, then act; one worker a domain, and none of them can stop the others.

Everything that moves a domain is on disk before it is done. When the journal itself fails the run
goes on, because the domains matter more than the record of them, and the loss is told.
"""

from __future__ import annotations

import asyncio
import traceback
from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine.plan import only_new_steps
from lamplighter.errors import JournalError, Unreachable, XenStoreError
from lamplighter.model.run import (
    Direction,
    Outcome,
    Plan,
    Result,
    Run,
    Step,
    Transition,
    Verb,
    exit_status,
)
from lamplighter.service.observer import SAFETY, Observer
from lamplighter.service.run.worker import RunContext, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.model.domain import Definition
    from lamplighter.service.managed_host import Host
    from lamplighter.service.run.progress import Listener

    Latecomers = Callable[[], Awaitable[Plan]]

#: So often the host is looked at again at the end, as long as there is something new.
LATE_LISTINGS = 3


class Runner:
    """Carries out one plan."""

    def __init__(
        self, host: Host, listener: Listener, *, unnamed_definitions: int = 0, wrong: int = 0
    ) -> None:
        """What ``unnamed_definitions`` and ``wrong`` mean, see ``model.run.exit_status``."""
        self._unnamed_definitions = unnamed_definitions
        self._wrong = wrong
        self._signal = 0
        self._host = host
        self._listener = listener
        self._workers: list[Worker] = []
        self._tasks: list[asyncio.Task[Result]] = []
        self._planning: asyncio.Future[Plan] | None = None
        self._interrupted = ""
        self._ending = asyncio.Event()
        self._dropped = False
        self._id = 0
        self._lost = ""
        self._latest = inf

    async def run(self, plan: Plan, latecomers: Latecomers | None = None) -> Run:
        """Return when every domain's part of the plan has ended.

        ``latecomers`` makes the plan anew: a domain that was between two incarnations at the
        first look, or that was created since, is carried along with the others.
        """
        clock = self._host.clock
        started = clock.wall()
        budget = self._host.configuration.host.stop_budget.value
        if budget and plan.direction is Direction.DOWN:
            self._latest = clock.monotonic() + budget
        self._listener.began(plan)
        await self._begin(plan)
        results = await self._all(plan)
        if latecomers is not None:
            results += await self._late(latecomers, results)
        ended = clock.wall()
        status = exit_status(
            results,
            unnamed_definitions=self._unnamed_definitions,
            wrong=self._wrong,
            signal=self._signal,
        )
        if self._host.journal is not None and self._id:
            await self._keep(self._host.journal.finish(self._id, ended, status))
        return Run(
            self._id,
            plan.direction,
            self._host.boot_id,
            started,
            ended,
            status,
            tuple(results),
            self._lost,
        )

    def interrupt(self, why: str, signal: int = 0) -> None:
        """Begin nothing new and wait for nothing more; a second time: drop what is under way.

        ``signal`` is the number of the signal that says so. Once more changes nothing: what was
        dropped is being written down.
        """
        if self._interrupted:
            if not self._dropped:
                self._dropped = True
                for task in self._tasks:
                    task.cancel()
            return
        self._interrupted, self._signal = why, signal
        self._ending.set()
        self._listener.said(f"{why}: nothing new is begun; once more to drop what is under way")
        for worker in self._workers:
            worker.mailbox.interrupt(why)
        if self._planning is not None:
            self._planning.cancel()

    async def _all(self, plan: Plan) -> list[Result]:
        observer = Observer(self._host.toolstack, self._host.xenstore, self._host.clock)
        context = RunContext(
            self._host.clock,
            self._host.toolstack,
            self._host.xenstore,
            observer,
            asyncio.Semaphore(self._host.configuration.host.parallel_starts.value),
            self._ending,
            self._record,
            self._held,
            self._listener.heard,
            self._latest,
        )
        watching = asyncio.create_task(self._look(observer))
        try:
            self._tasks = [asyncio.create_task(self._one(step, context)) for step in plan.steps]
            ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await observer.close()
        return [await self._end(step, end) for step, end in zip(plan.steps, ends, strict=True)]

    async def _late(self, latecomers: Latecomers, results: list[Result]) -> list[Result]:
        """Carry out what came meanwhile, and what came while that was done."""
        late: list[Result] = []
        for _ in range(LATE_LISTINGS):
            seen = await self._plan_latecomers(latecomers)
            if seen is None or not (plan := only_new_steps(seen, [*results, *late])).steps:
                break
            late += await self._all(plan)
        return late

    async def _plan_latecomers(self, latecomers: Latecomers) -> Plan | None:
        """Plan anew; None when that cannot be done, or when nobody waits for it any more."""
        why = self._interrupted
        if not why:
            self._planning = asyncio.ensure_future(latecomers())
            try:
                return await self._planning
            except asyncio.CancelledError:
                if not self._interrupted:
                    raise
                why = self._interrupted
            except (Unreachable, XenStoreError) as error:
                why = str(error)
            finally:
                self._planning = None
        self._listener.said(f"whether another domain came meanwhile is not known: {why}")
        return None

    async def _look(self, observer: Observer) -> None:
        """Look at the host as long as the run lives: a defect of ours must not blind them all."""
        told = ""
        while True:
            (end,) = await asyncio.gather(observer.watch(), return_exceptions=True)
            if isinstance(end, Exception) and told != (told := repr(end)):
                self._listener.said("".join(traceback.format_exception(end)))
            await self._host.clock.sleep(SAFETY)

    async def _end(self, step: Step, end: Result | BaseException) -> Result:
        """A defect of ours in one domain's part is that domain's failure, and is told in full."""
        if isinstance(end, Result):
            return end
        if not isinstance(end, Exception):
            raise end
        self._listener.said("".join(traceback.format_exception(end)))
        seen = step.info
        result = Result(
            step.name,
            seen.uuid if seen else None,
            seen.domid if seen else None,
            Outcome.FAILED,
            note=f"a defect of Lamplighter's: {end!r}",
            good=False,
        )
        await self._settle(result)
        return result

    async def _one(self, step: Step, context: RunContext) -> Result:
        """One domain's part; whatever happens in it ends in a result of its own."""
        if step.verb is Verb.NOTHING:
            result = _settled_already(step)
        else:
            worker = Worker(step, context)
            self._workers.append(worker)
            if self._interrupted:  # while the run was being written into the journal
                worker.mailbox.interrupt(self._interrupted)
            try:
                result = await worker.run()
            except asyncio.CancelledError:
                if not self._interrupted:
                    raise
                result = worker.dropped(f"dropped: {self._interrupted}")
        await self._settle(result)
        return result

    async def _begin(self, plan: Plan) -> None:
        journal = self._host.journal
        if journal is None:
            self._tell_loss(self._host.journal_trouble)
            return
        try:
            self._id = await journal.begin(
                plan.direction, self._host.boot_id, self._host.clock.wall()
            )
        except JournalError as error:
            self._tell_loss(f"there is no record of this run, which goes on: {error}")

    async def _record(self, transition: Transition) -> None:
        if self._host.journal is not None and self._id:
            await self._keep(self._host.journal.record(self._id, transition))
        self._listener.moved(transition)

    def _held(self, definition: Definition) -> str:
        """Why a domain is held since the plan was made, which looked at the holds before."""
        if self._host.journal is None:
            return ""
        try:
            hold = self._host.journal.hold_of(definition)
        except JournalError:
            return ""  # it was not held when the plan was made
        return hold.told if hold is not None else ""

    async def _settle(self, result: Result) -> None:
        if self._host.journal is not None and self._id:
            at = self._host.clock.wall()
            await self._keep(self._host.journal.settle(self._id, result, at))
        self._listener.settled(result)

    async def _keep(self, record: Awaitable[None]) -> None:
        try:
            await record
        except JournalError as error:
            self._tell_loss(f"the record of this run, which goes on, is not whole: {error}")

    def _tell_loss(self, why: str) -> None:
        """Tell it once: what was lost first is why the rest is lost, too, or will not be."""
        if not self._lost:
            self._lost = why
            self._listener.said(why)


def _settled_already(step: Step) -> Result:
    assert step.outcome is not None, "a step without an action has its outcome from the plan"
    seen = step.info
    uuid = seen.uuid if seen else step.definition.uuid if step.definition else None
    note = "; ".join((step.reason, *step.notes))
    return Result(step.name, uuid, seen.domid if seen else None, step.outcome, 0.0, note, step.good)
