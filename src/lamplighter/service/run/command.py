"""One run in its order, from what is asked for to the report.

The host's lock is taken before the first listing, so that a plan is never made from what another
run is still changing. Under systemd the lock is waited for, and the host's stop makes its holder
let go (``service/run/takeover``). A first signal ends the run early but in order: nothing new is
begun and what is known is recorded; a second one drops what is under way. Signals are caught until
the record is complete, the lock is released and the report is written, so that no impatience loses
what is left undone, and the process exits with what is recorded. Before the run begins they end the
process as they would any other: nothing has to be put in order yet.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from lamplighter.engine import timing
from lamplighter.engine.policy import least_stop_timeout
from lamplighter.errors import ConfigurationError, JournalError, Unreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.problem import Location
from lamplighter.model.run import SIGNALLED, Direction
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.crash_loops import hold_crash_loops
from lamplighter.service.run.prepare import plan_latecomers, prepare
from lamplighter.service.run.progress import ListenerGroup
from lamplighter.service.run.recorder import open_journal
from lamplighter.service.run.runner import Runner
from lamplighter.service.run.takeover import take_host
from lamplighter.service.unit.systemd_job import UnitJob
from lamplighter.service.unit.systemd_status import unit_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.policy import Configuration
    from lamplighter.model.problem import Problem
    from lamplighter.model.run import Run
    from lamplighter.service.managed_host import Host
    from lamplighter.service.run.progress import Listener
    from lamplighter.service.unit.systemd_status import UnitStatus

logger = logging.getLogger(__name__)

#: What ends a run early: a key, systemd or a shutdown, a terminal that goes away.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Request(NamedTuple):
    """What is asked for: all domains, or those of these names or UUIDs.

    ``after_stop``: this is the unit's ``ExecStopPost=``, and there may be nothing left to do.
    """

    direction: Direction
    names: Sequence[str] = ()
    after_stop: bool = False


class Report(NamedTuple):
    """What a run came to. ``seconds`` are host seconds; ``console`` is the command for
    a guest's console, where there is one.
    """

    run: Run
    problems: Sequence[Problem]
    seconds: float
    console: str

    @property
    def signal(self) -> str:
        """The name of the signal that ended the run early; empty when none did."""
        status = self.run.exit or 0
        return signal.Signals(status - SIGNALLED).name if status > SIGNALLED else ""


class NothingToDo(NamedTuple):
    """No domain was to be moved, and why."""

    why: str


class Audience(Protocol):
    """Who asks for a run, and hears of it."""

    environ: Mapping[str, str]

    def configuration(self) -> Configuration:
        """Read the configuration; raise ``ConfigurationError``."""

    def lenient_configuration(self) -> tuple[Configuration, ConfigurationError | None]:
        """Return what is sound of the configuration, and what is wrong with it."""

    def planned(self, plan: Plan, problems: Sequence[Problem]) -> None:
        """Hear what will be done, and what is wrong in files, before the first domain is moved."""

    def listen(self, clock: Clock) -> AbstractAsyncContextManager[Listener]:
        """Hear of the run while the block lasts."""


async def carry_out(request: Request, audience: Audience, signals: Signals) -> Report | NothingToDo:
    """Carry out one run; raise ``LamplighterError`` where there can be none.

    Once it has begun, ``signals`` are caught until the caller leaves their block.
    """
    direction, names, after_stop = request
    notifier, clock = Notifier.from_environment(audience.environ), LoopClock()
    unit_job = None
    if notifier.active and not names:
        run_directory = Path(audience.lenient_configuration()[0].host.run.value)
        unit_job = UnitJob(run_directory, audience.environ, clock)
    if unit_job is not None and after_stop and (why := await unit_job.after_stop()) is not None:
        return NothingToDo(why)  # and the status text stays that of the stop itself
    async with AsyncExitStack() as stack:
        unit = await stack.enter_async_context(unit_status(direction, notifier, clock))
        configuration, wrong = _configuration(audience, request, by_hand=unit_job is None)
        if unit_job is not None and not after_stop:
            why = await (unit_job.start() if direction is Direction.UP else unit_job.stop())
            if why is not None:
                unit.nothing_to_do(why)
                return NothingToDo(why)
        taken = take_host(configuration, direction, unit, clock, everything=not names)
        stack.enter_context(await taken)
        patience = least_stop_timeout(configuration) if unit_job is not None else 0.0
        async with _prepared(configuration, request, unit, clock, patience) as (host, plan):
            report = await _run(host, plan, request, wrong, unit, signals, audience)
        if unit_job is not None and direction is Direction.DOWN and not report.signal:
            unit_job.stopped()
    return report


def _configuration(
    audience: Audience, request: Request, *, by_hand: bool
) -> tuple[Configuration, ConfigurationError | None]:
    """Return the configuration, and what is wrong with it although the run goes on.

    The power goes, whatever is in a file: an error in it must not cost every domain its clean
    shutdown. At the host's start, an error in the table of one domain costs that domain alone. A
    person who asks for all domains can repair the file first.
    """
    if request.direction is Direction.DOWN and not by_hand:
        configuration, wrong = audience.lenient_configuration()
        wrong = wrong or _table_error(configuration)
        if wrong is not None:
            logger.error("the host stops, with the valid part of its configuration:")
            logger.error("%s", wrong.full_message)
        return configuration, wrong
    configuration = audience.configuration()
    wrong = _table_error(configuration) if not request.names else None
    if wrong is not None and by_hand:
        raise wrong
    return configuration, wrong


def _table_error(configuration: Configuration) -> ConfigurationError | None:
    """Return the first error in the table of a domain."""
    if not configuration.problems:
        return None
    error, *others = configuration.problems
    hint = f"{error.hint}; lamplighter check shows all errors" if others else error.hint
    place = error.where or Location(configuration.file)
    return ConfigurationError(
        error.message, where=place.file, line=place.line, column=place.column, hint=hint
    )


@asynccontextmanager
async def _prepared(
    configuration: Configuration,
    request: Request,
    unit: UnitStatus,
    clock: Clock,
    patience: float,
) -> AsyncIterator[tuple[Host, Plan]]:
    """Open the host and plan; where it cannot be reached, try again for ``patience`` seconds.

    XenStore may be away for a moment when the host starts or stops. To give up would cost every
    domain its clean shutdown, and nobody tries again.
    """
    give_up, reported = clock.monotonic() + patience, ""
    while True:
        async with AsyncExitStack() as opening:
            try:
                host = await opening.enter_async_context(open_host(configuration))
                await opening.enter_async_context(open_journal(host))
                plan = await prepare(host, request.direction, request.names)
            except Unreachable as error:
                if clock.monotonic() >= give_up:
                    raise
                unit.waits(error.message)
                if reported != (reported := error.message):
                    logger.warning("%s; it is tried again", error.message)
            else:
                yield host, plan
                return
        await clock.sleep(timing.DOOR_PAUSE)


async def _run(
    host: Host,
    plan: Plan,
    request: Request,
    wrong: ConfigurationError | None,
    unit: UnitStatus,
    signals: Signals,
    audience: Audience,
) -> Report:
    """Run, until it ends or signals end it early."""
    problems = host.inventory.problems
    audience.planned(plan, problems)
    began = host.clock.monotonic()
    everything, up = not request.names, request.direction is Direction.UP
    # A definition that is too broken to name its domain may be of one that was wanted up.
    unnamed_definitions = (
        sum(one.fatal and one.domain is None for one in problems) if everything and up else 0
    )
    latecomers = partial(plan_latecomers, host) if everything and not up else None
    async with audience.listen(host.clock) as progress:
        wrong_status = wrong.exit_status if wrong is not None else 0
        listener = ListenerGroup([progress, unit])
        runner = Runner(host, listener, unnamed_definitions=unnamed_definitions, wrong=wrong_status)
        with signals.passed_to(runner.interrupt):
            signals.catch()
            run = await runner.run(plan, latecomers)
    seconds = host.clock.monotonic() - began
    report = Report(run, problems, seconds, host.toolstack.by_hand.console)
    unit.ended(run, report.signal, unnamed_definitions)
    try:
        for hold in await hold_crash_loops(host, run):
            again = f"lamplighter release {hold.name}; lamplighter up {hold.name}"
            logger.warning(
                "%s is held from now on: %s\n  when it is repaired: %s",
                hold.name,
                hold.reason,
                again,
            )
    except JournalError as error:
        logger.error("failed starts could not be counted: %s", error)
    # Not when the host stops, and not when somebody waits for this run to end.
    host_stops = unit.active and everything and not up
    if host.journal is not None and not host_stops and not report.signal:
        journal = host.journal
        forgotten = host.clock.wall() - timedelta(seconds=host.configuration.host.history.value)
        try:
            with signals.passed_to(lambda *_: journal.interrupt()):
                await journal.tidy(forgotten)
        except JournalError as error:
            logger.error("history is not pruned: %s", error)
    return report


class Signals:
    """Lets signals end a run early instead of the process, until the block ends.

    The block is around the event loop and what comes after it. When the run has ended, signals are
    still caught and change nothing any more.
    """

    def __init__(self) -> None:
        self._interrupt: Callable[[str, int], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        return self

    def catch(self) -> None:
        """Catch signals from now on; the event loop that runs now hears of them."""
        loop = asyncio.get_running_loop()

        def caught(number: int, _: object) -> None:
            if self._interrupt is not None:  # within the loop's life
                loop.call_soon_threadsafe(self._caught, signal.Signals(number))

        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # nohup, &
                signal.signal(number, caught)

    @contextmanager
    def passed_to(self, interrupt: Callable[[str, int], None]) -> Iterator[None]:
        """Call this for each signal while the block lasts, with a text and the signal's number."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self._interrupt = None

    def _caught(self, number: signal.Signals) -> None:
        if self._interrupt is not None:
            self._interrupt(f"interrupted by {number.name}", number)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)
