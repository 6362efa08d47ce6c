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

from lamplighter.engine import start, timing
from lamplighter.engine.events import (
    Action,
    AgentReport,
    AnswerAgent,
    AnswerFailed,
    CheckCreator,
    CheckHalfBuilt,
    CheckReaper,
    ClearRequest,
    Create,
    Created,
    CreatorChecked,
    Destroy,
    Destroyed,
    EnterPhase,
    Event,
    FindShutdownReason,
    Finish,
    HalfBuiltChecked,
    HeldMeanwhile,
    Interrupted,
    KindFound,
    Listed,
    PoweroffFeature,
    Pressed,
    PressPower,
    ReaperChecked,
    Relist,
    RequestCleared,
    RequestShutdown,
    RequestWritten,
    ShutdownReasonFound,
    TellDeadline,
    WatchNodes,
)
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
from lamplighter.model.run import Outcome, Result, Step, Transition, Verb
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.guests.reader import GuestReader
from lamplighter.service.incarnation import kind_of, newest_domid
from lamplighter.service.run.mailbox import Mailbox
from lamplighter.service.run.progress import Throttle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.service.observer import Observer
    from lamplighter.toolstacks.base import Toolstack


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every worker of a run shares.

    ``ending`` is set when the run is told to end. ``held`` tells why a domain must not be created
    after all: it was held since the plan was made. ``heard`` is told a guest's own words.
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
    held: Callable[[Definition], str]
    heard: Callable[[str, str], None]
    latest: float = inf


class _State(Protocol):
    @property
    def wake(self) -> float: ...

    @property
    def deadline(self) -> float: ...

    @property
    def phase(self) -> Phase: ...


S = TypeVar("S", bound=_State)
T = TypeVar("T")


class Worker:
    """Carries one step of a plan to its end."""

    def __init__(self, step: Step, context: RunContext) -> None:
        self._step = step
        self._context = context
        self.mailbox = Mailbox(_known_by(step), context.clock)
        self._channel: GuestChannel | None = None
        self._reader: GuestReader | None = None
        self._telling = Throttle(context.clock, partial(context.heard, step.name))
        self._phase, self._domid = _where_it_stands(step)
        self._uuid = _uuid(step)
        self._begun = 0.0
        self._deadline = inf

    async def run(self) -> Result:
        """Return how the domain's part ended, once it has."""
        self._begun = self._context.clock.monotonic()
        self._context.observer.subscribe(self.mailbox)
        try:
            if self._step.verb is Verb.START:
                finish = await self._climb(self._ascend(), start.step)
            else:
                finish = await self._climb(self._descend(), machine.step)
        finally:
            self._context.observer.unsubscribe(self.mailbox)
        await self._leave()
        return self._result(finish)

    def dropped(self, why: str) -> Result:
        """Return the result of a part that was dropped where it stood."""
        return self._result(Finish(Outcome.UNKNOWN, why, good=False))

    def _ascend(self) -> start.Stepped:
        step = self._step
        return start.begin(step.policy, self._begun, resume=step.resume, domid=self._domid)

    def _descend(self) -> machine.Stepped:
        step = self._step
        assert step.info is not None, "a plan stops only what was seen"
        destroy = step.verb is Verb.DESTROY
        restarts = step.definition is not None and step.definition.restarts
        return machine.begin(
            step.info,
            step.policy,
            self._begun,
            destroy=destroy,
            restarts=restarts,
            resume=step.resume,
            latest=self._context.latest,
        )

    async def _climb(
        self,
        begun: tuple[S, tuple[Action, ...]],
        step: Callable[[S, Event], tuple[S, tuple[Action, ...]]],
    ) -> Finish:
        state, actions = begun
        events: deque[Event] = deque()
        while True:
            self._deadline = state.deadline
            for action in actions:
                if isinstance(action, Finish):
                    return action
                events.extend(await self._carry_out(action))
            if not events:
                events.extend(await self._next_events(state.wake))
            state, actions = step(state, events.popleft())

    async def _next_events(self, wake: float) -> list[Event]:
        reader = self._reader
        read_at = reader.due if reader is not None else inf
        events = await self.mailbox.wait(min(wake, read_at, self._telling.due))
        for event in events:
            if isinstance(event, Listed):
                self._domid, self._uuid = event.info.domid, event.info.uuid
        self._telling.tell()
        ends = any(isinstance(event, Listed) and not event.info.running for event in events)
        if reader is not None and reader.is_due(ends=ends):
            events[:0] = await self._read(reader)
        return events

    async def _read(self, reader: GuestReader) -> list[Event]:
        events = await reader.read(self._xenstore_time)
        for event in events:
            if isinstance(event, AgentReport):
                self._telling.hear(event.words)
        return events

    # --- actions ---

    async def _carry_out(self, action: Action) -> list[Event]:
        match action:
            case EnterPhase(phase, detail):
                await self._move(phase, detail)
            case Relist():
                self._relist()
            case WatchNodes(domid):
                return await self._attend(domid)
            case Create():
                return await self._create()
            case Destroy(domid):
                error = await self._call(self._context.toolstack.destroy(domid))
                self._relist()
                return [Destroyed(self._now, error)]
            case PressPower(domid):
                return [
                    Pressed(self._now, await self._call(self._context.toolstack.press_power(domid)))
                ]
            case RequestShutdown() | TellDeadline() | ClearRequest() | AnswerAgent():
                return await self._speak(action)
            case FindShutdownReason() | CheckCreator() | CheckReaper() | CheckHalfBuilt():
                return [await self._enquire(action)]
        return []

    async def _move(self, phase: Phase, detail: str) -> None:
        before, self._phase = self._phase, phase
        at = self._context.clock.wall()
        name = self._step.name
        transition = Transition(name, self._uuid, self._domid, before, phase, detail, at)
        await self._context.record(transition)

    async def _attend(self, domid: int) -> list[Event]:
        await self._leave()
        self._domid = domid
        number = int(self._context.clock.wall().timestamp()) % NUMBERS
        self._channel = GuestChannel(self._context.xenstore, domid, number)
        self._reader = GuestReader(self._channel, self._context.clock, self.mailbox.stir)
        events = await self._read(self._reader)
        first: list[Event] = [
            event for event in events if isinstance(event, AgentReport | PoweroffFeature)
        ]
        return [*await self._kind(domid), *(first or [PoweroffFeature(self._now, domid, None)])]

    async def _kind(self, domid: int) -> list[Event]:
        """Only a stop asks for it; where XenStore does not tell, the definition does."""
        if self._step.verb is Verb.START:
            return []
        kind = self._step.definition.kind if self._step.definition is not None else None
        with suppress(Unreachable, XenStoreError):
            kind = await self._in_time(kind_of(self._context.xenstore, domid)) or kind
        return [KindFound(self._now, domid, kind)] if kind is not None else []

    async def _create(self) -> list[Event]:
        assert self._step.definition is not None, "a plan starts only what a file defines"
        async with self._context.creating:
            if self.mailbox.interrupted:
                return [Interrupted(self._now, self.mailbox.interrupted)]
            if why := self._context.held(self._step.definition):
                return [HeldMeanwhile(self._now, why)]
            try:
                await self._context.toolstack.create(
                    self._step.definition, ending=self._context.ending
                )
            except CallNotStarted:
                return [Interrupted(self._now, self.mailbox.interrupted)]
            except (CallFailed, Unreachable) as error:
                return [Created(self._now, None, error.message)]
        domid = None
        with suppress(Unreachable, XenStoreError):
            newest = newest_domid(self._context.xenstore, self._step.definition)
            domid = await self._in_time(newest)
        self._relist()
        return [Created(self._now, domid)]

    async def _enquire(
        self, question: FindShutdownReason | CheckCreator | CheckReaper | CheckHalfBuilt
    ) -> Event:
        """Ask the toolstack for what no listing tells."""
        toolstack, definition = self._context.toolstack, self._step.definition
        if isinstance(question, FindShutdownReason):
            try:
                return ShutdownReasonFound(
                    self._now, await toolstack.shutdown_reason(question.info)
                )
            except (CallFailed, Unreachable):
                return ShutdownReasonFound(self._now, None)
        if isinstance(question, CheckReaper):
            lives = False
            with suppress(CallFailed, Unreachable):
                lives = await toolstack.reaper_lives(question.info)
            return ReaperChecked(self._now, question.info.domid, lives)
        if isinstance(question, CheckHalfBuilt):
            return await self._inspect(question.info)
        assert definition is not None, "a plan starts only what a file defines"
        try:
            creating = await toolstack.being_created([definition])
            return CreatorChecked(self._now, definition.key in creating)
        except (CallFailed, Unreachable):
            return CreatorChecked(
                self._now, creating=True
            )  # not known: nothing is created beside it

    async def _inspect(self, info: DomainInfo) -> HalfBuiltChecked:
        """A domain that no file defines is nothing that could be told of here."""
        toolstack, definition = self._context.toolstack, self._step.definition
        half_built = False
        if definition is not None:
            with suppress(CallFailed, Unreachable):
                half_built = await toolstack.half_built(info, definition)
        return HalfBuiltChecked(self._now, info.domid, half_built)

    async def _speak(
        self, action: RequestShutdown | TellDeadline | ClearRequest | AnswerAgent
    ) -> list[Event]:
        """Say something to the guest."""
        if isinstance(action, ClearRequest):
            return await self._clear()
        if isinstance(action, AnswerAgent):
            answered = self._in_time(self._partner.answer(action.answer, action.granted))
            error = await self._call(answered)
            return [AnswerFailed(self._now, action.domid, action.answer)] if error else []
        seconds = max(0.0, action.until - self._now) if isfinite(action.until) else None
        if isinstance(action, TellDeadline):
            if seconds is not None:
                await self._call(self._in_time(self._partner.note(seconds, action.granted)))
            return []
        error = await self._call(self._in_time(self._partner.ask(seconds, action.granted)))
        return [RequestWritten(self._now, error)]

    async def _clear(self) -> list[Event]:
        try:
            taken = await self._in_time(self._partner.clear_request())
        except (Unreachable, XenStoreError) as error:
            return [RequestCleared(self._now, taken=False, error=error.message)]
        return [RequestCleared(self._now, taken)]

    async def _call(self, call: Awaitable[None]) -> str:
        """Return what went wrong with a call, or nothing."""
        try:
            await call
        except (CallFailed, Unreachable, XenStoreError) as error:
            return error.message
        return ""

    async def _in_time(self, channel: Awaitable[T]) -> T:
        """Await XenStore; ``XenStoreUnreachable`` when it takes longer than the domain has."""
        seconds = self._xenstore_time
        try:
            async with self._context.clock.timeout(seconds):
                return await channel
        except TimeoutError:
            raise XenStoreUnreachable(f"XenStore has not answered for {seconds:.0f} s") from None

    # --- small things ---

    @property
    def _xenstore_time(self) -> float:
        """For so many host seconds XenStore is waited for.

        Past a stop's deadline all that is said and read has the same grace together, so that a
        XenStore that hangs puts the domain's end off by that much and no more.
        """
        if self._step.verb is Verb.START:
            return max(timing.XENSTORE_TIME, self._deadline - self._now)
        return max(timing.LAST_READ, self._deadline + timing.XENSTORE_TIME - self._now)

    @property
    def _now(self) -> float:
        return self._context.clock.monotonic()

    @property
    def _partner(self) -> GuestChannel:
        assert self._channel is not None, "the machine attends before it speaks"
        return self._channel

    def _relist(self) -> None:
        """What was listed before this moment does not count any more."""
        self._context.observer.disbelieve(self.mailbox)
        self._context.observer.relist()

    async def _leave(self) -> None:
        if self._reader is not None:
            with suppress(TimeoutError):
                async with self._context.clock.timeout(timing.XENSTORE_TIME):
                    await self._reader.leave()

    def _result(self, finish: Finish) -> Result:
        # What the guest said last is at the end of a note, and of a report.
        notes = self._step.notes
        parts = (finish.note, *notes) if finish.good else (*notes, finish.note)
        note = "; ".join(part for part in parts if part)
        seconds = self._now - self._begun
        return Result(
            self._step.name, self._uuid, self._domid, finish.outcome, seconds, note, finish.good
        )


def _where_it_stands(step: Step) -> tuple[Phase, int | None]:
    """The phase and domid with which a step begins; a resumed one has both from before."""
    domid = step.info.domid if step.info is not None else None
    if step.verb is not Verb.START:
        resumed = step.resume if step.resume is Phase.ACKNOWLEDGED else None
        return resumed or Phase.UP, domid
    return (Phase.BOOTING, domid) if step.resume is Phase.BOOTING else (Phase.ABSENT, None)


def _known_by(step: Step) -> UUID | str:
    """A stop follows the UUID that was seen; a start follows what the definition states."""
    if step.verb is not Verb.START and step.info is not None:
        return step.info.uuid
    if step.definition is not None and step.definition.uuid is not None:
        return step.definition.uuid
    return step.name


def _uuid(step: Step) -> UUID | None:
    known = _known_by(step)
    return None if isinstance(known, str) else known
