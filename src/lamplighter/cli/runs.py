"""``up`` and ``down``: take the host's lock, look, plan, run, report.

The lock is taken before the first look, so that a plan is never made from what another run is still
changing. Under systemd the lock is waited for, and the host's stop makes whoever holds it let go
(``service/run/takeover``). A first signal ends the run early but in order: nothing new is begun and
what is known is recorded; a second one drops what is under way. Signals are caught until the record
is whole and the host is let go, so that no impatience costs the words on what is left. Before the
run begins they end the process as they would any other: there is nothing to be put in order yet.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lamplighter.cli.context import SIGNALLED
from lamplighter.cli.output.problems import tell_stray_problems
from lamplighter.cli.output.progress import show_progress
from lamplighter.cli.output.report import left_over, report
from lamplighter.cli.output.text import style_of
from lamplighter.errors import JournalError
from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.run import Direction
from lamplighter.report.documents import run_document, spared_document
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.intents import hold_crash_loops
from lamplighter.service.run.prepare import plan_latecomers, prepare
from lamplighter.service.run.progress import ListenerGroup
from lamplighter.service.run.runner import Runner
from lamplighter.service.run.takeover import take_host
from lamplighter.service.unit.systemd_job import UnitJob
from lamplighter.service.unit.systemd_status import unit_status

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from lamplighter.cli.context import Context
    from lamplighter.errors import ConfigurationError
    from lamplighter.model.clock import Clock
    from lamplighter.model.intent import Hold
    from lamplighter.model.policy import Configuration
    from lamplighter.model.problem import Problem
    from lamplighter.model.run import Plan, Run
    from lamplighter.service.managed_host import Host
    from lamplighter.service.unit.systemd_status import UnitStatus

    Look = Callable[[], Awaitable[Plan]]

#: What ends a run early: a key, systemd or a shutdown, a terminal that goes away.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``up`` and ``down`` have in common."""
    parser.add_argument(
        "names",
        metavar="DOMAIN",
        nargs="*",
        default=[],
        help="only these domains, by name or UUID; whatever their policy says",
    )


def carry_out(
    direction: Direction, names: Sequence[str], context: Context, *, after_stop: bool = False
) -> int:
    """Carry out one run and return its exit status.

    ``after_stop``: it is the unit's ``ExecStopPost=``, and there may be nothing left to do.
    """
    return asyncio.run(_carry_out(direction, names, context, after_stop=after_stop))


async def _carry_out(
    direction: Direction, names: Sequence[str], context: Context, *, after_stop: bool
) -> int:
    notifier, clock = Notifier.from_environment(context.environ), LoopClock()
    host_stops = notifier.active and not names and direction is Direction.DOWN
    if after_stop and (why := await _unit_job(context, clock).after_stop()):
        return _spare(why, context)  # and the status text stays that of the stop itself
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(Signals())
        unit = await stack.enter_async_context(unit_status(direction, notifier, clock))
        configuration, wrong = _configuration(context, host_stops=host_stops)
        unit_job = _unit_job(context, clock) if unit.active and not names else None
        if unit_job is not None and not after_stop and (why := await _asked(unit_job, direction)):
            unit.protected(why)
            return _spare(why, context)
        taken = take_host(
            configuration, direction, unit, clock, tell=context.warn, everything=not names
        )
        stack.enter_context(await taken)
        async with open_host(configuration, writing=True) as host:
            plan = await prepare(host, direction, names, context.warn)
            tell_stray_problems(host.inventory.problems, {s.name for s in plan.steps}, context)
            began = host.clock.monotonic()
            late = (
                partial(plan_latecomers, host)
                if direction is Direction.DOWN and not names
                else None
            )
            run = await _run(host, plan, late, context, unit, signals)
            interruption = signals.first
            await _tell_crash_loops(host, run, context)
            seconds = host.clock.monotonic() - began
            toolstack, problems = host.toolstack.name, host.inventory.problems
        broken = _broken(run, problems, everything=not names)
        name = interruption.name if interruption is not None else ""
        unit.ended(run, name, broken)
        if unit_job is not None and direction is Direction.DOWN and not name:
            unit_job.stopped()
    status = _exit_status(run, problems, everything=not names, wrong=wrong)
    if interruption is not None:
        status = SIGNALLED + interruption
    try:
        if context.as_json:
            context.print_json(run_document(run, problems, status))
        else:
            style = style_of(context.out, context.environ)
            context.print(report(run, seconds, style, toolstack=toolstack))
    finally:
        if name:
            context.warn(left_over(run, name, names))
    return status


def _configuration(
    context: Context, *, host_stops: bool
) -> tuple[Configuration, ConfigurationError | None]:
    """The configuration; at the host's stop what is sound of it, and what is wrong, which is told.

    The power goes, whatever is in a file: a mistake in it must not cost every domain its clean
    shutdown.
    """
    if not host_stops:
        return context.configuration(), None
    configuration, wrong = context.sound_configuration()
    if wrong is not None:
        context.warn("the host stops, and goes by what is sound of its configuration:")
        context.warn_of(wrong)
    return configuration, wrong


def _unit_job(context: Context, clock: Clock) -> UnitJob:
    directory = Path(context.sound_configuration()[0].host.run.value)
    return UnitJob(directory, context.environ, clock, context.warn)


async def _asked(unit_job: UnitJob, direction: Direction) -> str:
    """Why systemd wants no domain to be moved; nothing when it does."""
    return await (unit_job.start() if direction is Direction.UP else unit_job.stop())


def _spare(why: str, context: Context) -> int:
    if context.as_json:
        context.print_json(spared_document(why))
    else:
        context.print(why)
    return 0


async def _run(
    host: Host,
    plan: Plan,
    late: Look | None,
    context: Context,
    unit: UnitStatus,
    signals: Signals,
) -> Run:
    """Carry the plan out, until it ends or signals end it early."""
    async with show_progress(context, host.clock) as progress:
        runner = Runner(host, ListenerGroup([progress, unit]))
        signals.interrupt(runner)
        run = await runner.run(plan, late)
        signals.runner = None
        return run


async def _tell_crash_loops(host: Host, run: Run, context: Context) -> None:
    """Hold what fails to start again and again, and tell it."""
    try:
        for hold in await hold_crash_loops(host, run):
            context.warn(f"{hold.name} is held from now on: {hold.reason}\n  {_let_go(hold)}")
    except JournalError as error:
        context.warn(f"whether a domain fails again and again is not known: {error}")


def _let_go(hold: Hold) -> str:
    return f"when it is mended: lamplighter release {hold.name}; lamplighter up {hold.name}"


class Signals:
    """Lets signals end a run early instead of the process, until the block ends.

    When the run has ended, they are caught still and change nothing any more.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.runner: Runner | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        return self

    def interrupt(self, runner: Runner) -> None:
        """From now on they interrupt this run."""
        self.runner = runner
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # nohup, &
                self._before[number] = before
                asyncio.get_running_loop().add_signal_handler(number, self._caught, number)

    def _caught(self, number: signal.Signals) -> None:
        self.first = self.first or number
        if self.runner is not None:
            self.runner.interrupt(f"interrupted by {number.name}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, before or signal.SIG_DFL)


def _exit_status(
    run: Run,
    problems: Sequence[Problem],
    *,
    everything: bool,
    wrong: ConfigurationError | None = None,
) -> int:
    if wrong is not None:
        return wrong.exit_status
    return 1 if _broken(run, problems, everything=everything) else run.exit or 0


def _broken(run: Run, problems: Sequence[Problem], *, everything: bool) -> int:
    """A definition too broken to know whose it is may be of a domain that was wanted up."""
    if run.direction is not Direction.UP or not everything:
        return 0
    return sum(problem.fatal and problem.domain is None for problem in problems)
