"""The runner: journal, then act; one worker a domain, and none of them can stop the others.

Everything that moves a domain is on disk before it is done (``service/run/recorder``).
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine import timing
from lamplighter.engine.plan import only_new_steps
from lamplighter.errors import Unreachable, XenStoreError
from lamplighter.model.plan import Plan, Step, Verb
from lamplighter.model.run import Direction, Outcome, Result, Run, Transition, exit_status
from lamplighter.service.observer import Observer
from lamplighter.service.run.recorder import Recorder
from lamplighter.service.run.worker import RunContext, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.model.domain import Definition
    from lamplighter.service.managed_host import Host
    from lamplighter.service.run.progress import Listener

    Latecomers = Callable[[], Awaitable[Plan]]


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
        self._recorder = Recorder(host, listener.message)
        self._workers: list[Worker] = []
        self._tasks: list[asyncio.Task[Result]] = []
        self._planning: asyncio.Future[Plan] | None = None
        self._interrupted = ""
        self._ending = asyncio.Event()
        self._dropped = False
        self._latest = inf

    async def run(self, plan: Plan, latecomers: Latecomers | None = None) -> Run:
        """Return when every domain's part of the plan has ended.

        ``latecomers`` plans again: a domain that was between two incarnations when the host was
        first listed, or that was created since, is carried along with the others.
        """
        clock, recorder = self._host.clock, self._recorder
        started = clock.wall()
        budget = self._host.configuration.host.stop_budget.value
        if budget and plan.direction is Direction.DOWN:
            self._latest = clock.monotonic() + budget
        self._listener.began(plan)
        await recorder.begin(plan.direction, started)
        results = await self._carry_out(plan)
        if latecomers is not None:
            for _ in range(timing.LATE_LISTINGS):
                seen = await self._plan_latecomers(latecomers)
                if seen is None or not (late := only_new_steps(seen, results)).steps:
                    break
                results += await self._carry_out(late)
        ended = clock.wall()
        status = exit_status(
            results,
            unnamed_definitions=self._unnamed_definitions,
            wrong=self._wrong,
            signal=self._signal,
        )
        await recorder.finish(ended, status)
        return Run(
            recorder.run,
            plan.direction,
            self._host.boot_id,
            started,
            ended,
            status,
            tuple(results),
            recorder.lost,
        )

    def interrupt(self, why: str, signal: int = 0) -> None:
        """Begin nothing new and wait for nothing more; a second time: drop what is under way.

        ``signal`` is the number of the signal that says so. A third time changes nothing: what was
        dropped is being recorded.
        """
        if self._interrupted:
            if not self._dropped:
                self._dropped = True
                for task in self._tasks:
                    task.cancel()
            return
        self._interrupted, self._signal = why, signal
        self._ending.set()
        news = f"{why}: nothing new is begun; a second signal drops what is under way"
        self._listener.message(logging.WARNING, news)
        for worker in self._workers:
            worker.mailbox.interrupt(why)
        if self._planning is not None:
            self._planning.cancel()

    async def _carry_out(self, plan: Plan) -> list[Result]:
        """Carry out every step at once; return what came of each, in the plan's order."""
        observer = Observer(self._host.toolstack, self._host.xenstore, self._host.clock)
        context = RunContext(
            self._host.clock,
            self._host.toolstack,
            self._host.xenstore,
            observer,
            asyncio.Semaphore(self._host.configuration.host.parallel_starts.value),
            self._ending,
            self._enter_phase,
            self._hold_of,
            self._listener.guest_reported,
            self._latest,
        )
        watching = asyncio.create_task(self._observe(observer))
        try:
            ends = await asyncio.gather(
                *(self._carry_out_step(step, context) for step in plan.steps),
                return_exceptions=True,
            )
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await observer.close()
        results: list[Result] = []
        for step, end in zip(plan.steps, ends, strict=True):
            if isinstance(end, Exception):
                # A defect of ours in one domain's part is that domain's failure.
                self._listener.message(logging.ERROR, "".join(traceback.format_exception(end)))
                note = f"a bug in Lamplighter: {end!r}"
                failure = _result_of(step, Outcome.FAILED, note, good=False)
                await self._settle(failure)
                results.append(failure)
            elif isinstance(end, BaseException):
                raise end
            else:
                results.append(end)
        return results

    async def _carry_out_step(self, step: Step, context: RunContext) -> Result:
        """Carry out one domain's part; whatever happens in it ends in a result of its own."""
        if step.verb is Verb.NOTHING:
            assert step.outcome is not None, "a step without an action has an outcome of the plan's"
            note = "; ".join((step.reason, *step.notes))
            result = _result_of(step, step.outcome, note, good=step.good)
        else:
            worker = Worker(step, context)
            self._workers.append(worker)
            if self._interrupted:  # while the beginning of the run was being recorded
                worker.mailbox.interrupt(self._interrupted)
            # What is dropped is the worker alone: its result is recorded all the same.
            task = asyncio.ensure_future(worker.run())
            self._tasks.append(task)
            if self._dropped:
                task.cancel()
            try:
                result = await task
            except asyncio.CancelledError:
                if not self._dropped:
                    raise
                result = worker.dropped(f"dropped: {self._interrupted}")
            if worker.suspended and step.definition is not None:
                await self._recorder.away(step.definition, result)
        await self._settle(result)
        return result

    async def _plan_latecomers(self, latecomers: Latecomers) -> Plan | None:
        """Plan again; None when that cannot be done, or when nobody waits for it any more."""
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
        news = f"the host could not be listed again: {why}"
        self._listener.message(logging.WARNING, news)
        return None

    async def _observe(self, observer: Observer) -> None:
        """Have the host listed as long as the run lives: a defect must not blind every worker."""
        reported = ""
        while True:
            (end,) = await asyncio.gather(observer.watch(), return_exceptions=True)
            if isinstance(end, Exception) and reported != (reported := repr(end)):
                self._listener.message(logging.ERROR, "".join(traceback.format_exception(end)))
            await self._host.clock.sleep(timing.LISTING_INTERVAL)

    async def _enter_phase(self, transition: Transition) -> None:
        """Record a transition, then report it."""
        await self._recorder.transition(transition)
        self._listener.moved(transition)

    async def _settle(self, result: Result) -> None:
        await self._recorder.settle(result)
        self._listener.settled(result)

    def _hold_of(self, definition: Definition) -> str | None:
        """Return why a planned domain must not be created: it may be held by now. None: it may."""
        intents = self._host.intents.read()
        hold = intents.hold_of(definition)
        if hold is None and intents.error and self._host.holds_known:
            return f"holds cannot be read: {intents.error}"
        return hold.description if hold is not None else None


def _result_of(step: Step, outcome: Outcome, note: str, *, good: bool) -> Result:
    """Return the result of a step that no worker carried to its end."""
    info = step.info
    uuid = info.uuid if info else step.definition.uuid if step.definition else None
    domid = info.domid if info else None
    return Result(step.name, uuid, domid, outcome, note=note, good=good)
