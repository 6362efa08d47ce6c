"""The common part of ``up`` and ``down``: their arguments, and how a run is shown."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lamplighter.cli.output.problems import log_unlisted_problems
from lamplighter.cli.output.progress import show_progress
from lamplighter.cli.output.report import interrupted_text, report_text
from lamplighter.cli.output.text import style_of
from lamplighter.report.documents import nothing_done_document, run_document
from lamplighter.service.run.command import NothingToDo, Request, Signals, carry_out

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from lamplighter.cli.context import Context
    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.problem import Problem
    from lamplighter.service.run.progress import Listener

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ``up`` and ``down`` share."""
    parser.add_argument(
        "names",
        metavar="DOMAIN",
        nargs="*",
        default=[],
        help="only these domains, by name or UUID, whatever their policy",
    )


def run_and_report(request: Request, context: Context) -> int:
    """Carry out one run and print its report; return the exit status."""
    with Signals() as signals:
        ended = asyncio.run(carry_out(request, _Terminal(context), signals))
        if isinstance(ended, NothingToDo):
            if context.as_json:
                context.print_json(nothing_done_document(ended.why))
            else:
                context.print(ended.why)
            return 0
        run = ended.run
        try:
            if context.as_json:
                context.print_json(run_document(run, ended.problems))
            else:
                style = style_of(context.out, context.environ)
                text = report_text(run, ended.seconds, style, console=ended.console)
                context.print(text)
        finally:
            if ended.signal:
                logger.warning("%s", interrupted_text(run, ended.signal, request.names))
        return run.exit or 0


class _Terminal:
    """The ``Audience`` of a run: standard error, beside the report on standard output."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.environ = context.environ
        self.configuration = context.configuration
        self.lenient_configuration = context.lenient_configuration

    def planned(self, plan: Plan, problems: Sequence[Problem]) -> None:
        """Report the problems that the plan's own lines do not show."""
        log_unlisted_problems(problems, {step.name for step in plan.steps})

    def listen(self, clock: Clock) -> AbstractAsyncContextManager[Listener]:
        """Show progress."""
        return show_progress(self._context, clock)
