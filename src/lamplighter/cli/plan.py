"""``lamplighter plan up|down``: what would happen, in which order and why. It changes nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lamplighter.cli.output.problems import log_unlisted_problems
from lamplighter.cli.output.report import nothing_to_do
from lamplighter.cli.output.text import counted, outcome_colour, style_of, table
from lamplighter.host.journal.record import read_record
from lamplighter.model.plan import Verb
from lamplighter.model.run import Direction
from lamplighter.report.documents import plan_document
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.prepare import make_plan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.plan import Plan
    from lamplighter.model.policy import Configuration
    from lamplighter.model.problem import Problem

logger = logging.getLogger(__name__)

HELP = "show what up or down would do and why, without doing it"

HEADERS = ("DOMAIN", "WOULD", "WHY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "direction",
        metavar="up|down",
        choices=[direction.value for direction in Direction],
        help="the run to plan",
    )
    parser.add_argument(
        "names", metavar="DOMAIN", nargs="*", default=[], help="only these domains, by name or UUID"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    configuration = context.configuration()
    plan, problems = asyncio.run(_plan(Direction(args.direction), args.names, configuration))
    if context.as_json:
        context.print_json(plan_document(plan, problems))
    else:
        context.print(plan_text(plan, style_of(context.out, context.environ)))
        log_unlisted_problems(problems, {step.name for step in plan.steps})
    return 0


async def _plan(
    direction: Direction, names: Sequence[str], configuration: Configuration
) -> tuple[Plan, Sequence[Problem]]:
    async with open_host(configuration) as host:
        record = read_record(configuration.host, host.boot_id)
        for error in record.errors[:1]:
            logger.error("%s", error.full_message)
        return await make_plan(host, direction, names, record), host.inventory.problems


def plan_text(plan: Plan, style: Style) -> str:
    """Lay out a plan: steps that act come first, in the order in which they begin."""
    if not plan.steps:
        return nothing_to_do(plan.direction)
    ordered = sorted(plan.steps, key=lambda step: step.verb is Verb.NOTHING)
    rows: list[tuple[str, str, str]] = []
    colours: list[dict[int, str]] = []
    for step in ordered:
        if step.outcome is not None:
            would = f"nothing ({step.outcome.value})"
            colour = outcome_colour(step.outcome, good=step.good)
        else:
            would = step.verb.value
            colour = "busy" if step.verb is Verb.DESTROY else "good"
        rows.append((step.name, would, "; ".join((step.reason, *step.notes))))
        colours.append({1: colour})
    text = table(HEADERS, rows, style, colours=colours)
    acting = sum(step.verb is not Verb.NOTHING for step in plan.steps)
    return f"{text}\n\n{plan.direction.value} would act on {counted(acting, 'domain')}."
