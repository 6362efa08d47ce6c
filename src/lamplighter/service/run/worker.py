"""One worker a domain: it feeds the domain's machine with events and carries out its actions.

The machine (``engine/stop/machine`` or ``engine/start``) decides; this is the loop around it.
Actions are carried out one after another, each answer is an event before anything else is looked
at, and after an action that changes the domain no listing is believed that had begun before it
ended.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Protocol, TypeVar

from lamplighter.engine import events, start, timing
from lamplighter.engine.stop import machine
from lamplighter.errors import (
    CallFailed,
    CallNotStarted,
    Unreachable,
    XenStoreError,
    XenStoreUnreachable,
)
from lamplighter.formats.agent_protocol import NUMBERS
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Step, Verb
from lamplighter.model.run import Outcome, Result, Transition
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.guests.reader import GuestReader
from lamplighter.service.incarnation import kind_of, newest_domid
from lamplighter.service.run.mailbox import Mailbox
from lamplighter.service.run.progress import Throttle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition
    from lamplighter.service.observer import Observer
    from lamplighter.toolstacks.base import Toolstack


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every worker of a run shares.

    ``ending`` is set when the run is told to end. ``held`` tells why a domain must not be created
    after all: it was held since the plan was made. ``guest_reported`` gets what a guest reports.
    ``latest`` is when the run wants every domain that it stops to be down; infinite when only their
    own time-outs count.
    """

    clock: Clock
    toolstack: Toolstack
    xenstore: XenStore
    observer: Observer
    creating: asyncio.Semaphore
    ending: asyncio.Event
    record: Callable[[Transition], Awaitable[None]]
    held: Callable[[Definition], str | None]
    guest_reported: Callable[[str, str], None]
    latest: float = inf


class _State(Protocol):
    @property
    def wake(self) -> float: ...

    @property
    def deadline(self) -> float: ...


S = TypeVar("S", bound=_State)
T = TypeVar("T")


class Worker:
    """Carries one step of a plan to its end."""

    def __init__(self, step: Step, context: RunContext) -> None:
        self._step = step
        self._context = context
        self._domid = step.info.domid if step.info is not None else None
        # A stop follows the UUID that was listed; a start follows what the definition states.
        if step.verb is not Verb.START and step.info is not None:
            self._uuid: UUID | None = step.info.uuid
        else:
            self._uuid = step.definition.uuid if step.definition is not None else None
        # A step that goes on where a run died has its phase and domid from before.
        self._phase = Phase.UP
        if step.verb is not Verb.START:
            if step.resume is Phase.ACKNOWLEDGED:
                self._phase = step.resume
        elif step.resume is Phase.BOOTING:
            self._phase = step.resume
        else:
            self._phase, self._domid = Phase.ABSENT, None
        self.mailbox = Mailbox(self._uuid or step.name, context.clock)
        self._channel: GuestChannel | None = None
        self._reader: GuestReader | None = None
        self._throttle = Throttle(context.clock, partial(context.guest_reported, step.name))
        self._begun = context.clock.monotonic()
        self._deadline = inf
        self.suspended = False

    async def run(self) -> Result:
        """Return how the domain's part ended, once it has."""
        step, context = self._step, self._context
        self._begun = self._now
        context.observer.subscribe(self.mailbox)
        try:
            if step.verb is Verb.START:
                began = start.begin(step.policy, self._begun, resume=step.resume, domid=self._domid)
                finish = await self._drive(began, start.step)
            else:
                assert step.info is not None, "a plan stops only what was listed"
                begun = machine.begin(
                    step.info,
                    step.policy,
                    self._begun,
                    destroy=step.verb is Verb.DESTROY,
                    restarts=step.definition is not None and step.definition.restarts,
                    resume=step.resume,
                    latest=context.latest,
                )
                finish = await self._drive(begun, machine.step)
        finally:
            context.observer.unsubscribe(self.mailbox)
        await self._leave_guest()
        self.suspended = finish.suspended
        return self._result(finish)

    def dropped(self, why: str) -> Result:
        """Return the result of a part that was dropped where it stood."""
        return self._result(events.Finish(Outcome.UNKNOWN, why, good=False))

    async def _drive(
        self,
        begun: tuple[S, tuple[events.Action, ...]],
        step: Callable[[S, events.Event], tuple[S, tuple[events.Action, ...]]],
    ) -> events.Finish:
        """Feed the machine with events and carry out its actions, until it says how it ended."""
        state, actions = begun
        waiting: deque[events.Event] = deque()
        while True:
            self._deadline = state.deadline
            for action in actions:
                if isinstance(action, events.Finish):
                    return action
                waiting.extend(await self._carry_out(action))
            if not waiting:
                reader = self._reader
                read_at = reader.due if reader is not None else inf
                come = await self.mailbox.wait(min(state.wake, read_at, self._throttle.due))
                ends = False
                for event in come:
                    if isinstance(event, events.Listed):
                        self._domid, self._uuid = event.info.domid, event.info.uuid
                        ends = not event.info.running
                self._throttle.show_due()
                if reader is not None and reader.is_due(ends=ends):
                    waiting.extend(await self._read(reader))
                waiting.extend(come)
            state, actions = step(state, waiting.popleft())

    async def _carry_out(  # noqa: C901
        self, action: events.Action
    ) -> Sequence[events.Event]:
        """Carry out one action, one row each; return what came of it."""
        context, definition = self._context, self._step.definition
        toolstack = context.toolstack
        match action:
            case events.EnterPhase(phase, detail):
                before, self._phase = self._phase, phase
                name, at = self._step.name, context.clock.wall()
                await context.record(
                    Transition(name, self._uuid, self._domid, before, phase, detail, at)
                )
            case events.Relist():
                self._relist()
            case events.WatchNodes(domid):
                return await self._watch_nodes(domid)
            case events.Create():
                return [await self._create()]
            case events.Destroy(domid):
                error = await self._call(toolstack.destroy(domid))
                self._relist()
                return [events.Destroyed(self._now, error)]
            case events.PressPower(domid):
                error = await self._call(toolstack.press_power(domid))
                return [events.Pressed(self._now, error)]
            case events.RequestShutdown(until=until, granted=granted):
                error = await self._call(
                    self._in_time(self._guest.ask(self._seconds_until(until), granted))
                )
                return [events.RequestWritten(self._now, error)]
            case events.TellDeadline(until=until, granted=granted):
                if (seconds := self._seconds_until(until)) is not None:
                    await self._call(self._in_time(self._guest.note(seconds, granted)))
            case events.AnswerAgent(domid, answer, granted=granted):
                error = await self._call(self._in_time(self._guest.answer(answer, granted)))
                if error is not None:
                    return [events.AnswerFailed(self._now, domid, answer)]
            case events.ClearRequest():
                try:
                    taken = await self._in_time(self._guest.clear_request())
                except (Unreachable, XenStoreError) as failure:
                    return [events.RequestCleared(self._now, taken=False, error=failure.message)]
                return [events.RequestCleared(self._now, taken)]
            case events.FindShutdownReason(info):
                reason = None
                with suppress(CallFailed, Unreachable):
                    reason = await toolstack.shutdown_reason(info)
                return [events.ShutdownReasonFound(self._now, reason)]
            case events.CheckReaper(info):
                lives = False
                with suppress(CallFailed, Unreachable):
                    lives = await toolstack.reaper_lives(info)
                return [events.ReaperChecked(self._now, info.domid, lives)]
            case events.CheckHalfBuilt(info):
                # Only of a domain that a file defines can it be known.
                half_built = False
                with suppress(CallFailed, Unreachable):
                    half_built = definition is not None and await toolstack.half_built(
                        info, definition
                    )
                return [events.HalfBuiltChecked(self._now, info.domid, half_built)]
            case events.CheckCreator():
                assert definition is not None, "a plan starts only what a file defines"
                creating = True  # where it is not known, nothing is created beside it
                with suppress(CallFailed, Unreachable):
                    creating = definition.key in await toolstack.being_created([definition])
                return [events.CreatorChecked(self._now, creating)]
        return ()

    async def _watch_nodes(self, domid: int) -> list[events.Event]:
        """Begin to watch a guest's nodes; return what they say now, and the domain's kind."""
        await self._leave_guest()
        self._domid = domid
        number = int(self._context.clock.wall().timestamp()) % NUMBERS
        self._channel = GuestChannel(self._context.xenstore, domid, number)
        self._reader = GuestReader(self._channel, self._context.clock, self.mailbox.node_changed)
        first: list[events.Event] = [
            event
            for event in await self._read(self._reader)
            if isinstance(event, events.AgentReport | events.PoweroffFeature)
        ] or [events.PoweroffFeature(self._now, domid, None)]
        if self._step.verb is not Verb.START:  # only a stop asks for the kind
            kind = self._step.definition.kind if self._step.definition is not None else None
            with suppress(Unreachable, XenStoreError):
                kind = await self._in_time(kind_of(self._context.xenstore, domid)) or kind
            if kind is not None:
                first.insert(0, events.KindFound(self._now, domid, kind))
        return first

    async def _create(self) -> events.Event:
        definition = self._step.definition
        assert definition is not None, "a plan starts only what a file defines"
        async with self._context.creating:
            if self.mailbox.interrupted:
                return events.Interrupted(self._now, self.mailbox.interrupted)
            held = self._context.held(definition)
            if held is not None:
                return events.HeldMeanwhile(self._now, held)
            try:
                await self._context.toolstack.create(definition, ending=self._context.ending)
            except CallNotStarted:
                return events.Interrupted(self._now, self.mailbox.interrupted)
            except (CallFailed, Unreachable) as error:
                return events.Created(self._now, None, error.message)
        domid = None
        with suppress(Unreachable, XenStoreError):
            domid = await self._in_time(newest_domid(self._context.xenstore, definition))
        self._relist()
        return events.Created(self._now, domid)

    async def _read(self, reader: GuestReader) -> list[events.Event]:
        come = await reader.read(self._xenstore_time)
        for event in come:
            if isinstance(event, events.AgentReport):
                self._throttle.update(event.status)
        return come

    async def _call(self, call: Awaitable[None]) -> str | None:
        """Return why a call failed; None: it did not."""
        try:
            await call
        except (CallFailed, Unreachable, XenStoreError) as error:
            return error.message
        return None

    async def _in_time(self, channel: Awaitable[T]) -> T:
        """Await XenStore; ``XenStoreUnreachable`` when it takes longer than the domain has."""
        seconds = self._xenstore_time
        try:
            async with self._context.clock.timeout(seconds):
                return await channel
        except TimeoutError:
            raise XenStoreUnreachable(f"XenStore has not answered for {seconds:.0f} s") from None

    @property
    def _xenstore_time(self) -> float:
        """For so many host seconds XenStore is waited for.

        Past a stop's deadline all that is written and read has the same grace together, so that a
        XenStore that hangs puts the domain's end off by that much and no more.
        """
        if self._step.verb is Verb.START:
            return max(timing.XENSTORE_TIME, self._deadline - self._now)
        return max(timing.LAST_READ, self._deadline + timing.XENSTORE_TIME - self._now)

    @property
    def _now(self) -> float:
        return self._context.clock.monotonic()

    @property
    def _guest(self) -> GuestChannel:
        assert self._channel is not None, "the machine watches the nodes before it writes them"
        return self._channel

    def _seconds_until(self, until: float) -> float | None:
        """Return how long that is from now, at least 0; None where there is no such moment."""
        return max(0.0, until - self._now) if isfinite(until) else None

    def _relist(self) -> None:
        """What was listed before this moment does not count any more."""
        self._context.observer.discard_older(self.mailbox)
        self._context.observer.relist()

    async def _leave_guest(self) -> None:
        if self._reader is not None:
            with suppress(TimeoutError):
                async with self._context.clock.timeout(timing.XENSTORE_TIME):
                    await self._reader.leave()

    def _result(self, finish: events.Finish) -> Result:
        # What the guest reported last is at the end of a note, and of a report.
        notes = self._step.notes
        parts = (finish.note, *notes) if finish.good else (*notes, finish.note)
        note = "; ".join(part for part in parts if part)
        seconds = self._now - self._begun
        return Result(
            self._step.name, self._uuid, self._domid, finish.outcome, seconds, note, finish.good
        )
