"""``lamplighter hold DOMAIN --reason TEXT``: keep a domain down, across the host's reboots.

The hold is written at once, even while a run is under way: that run does not create a domain that
was held since its plan was made. A running domain is left running, unless ``--now`` is given.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lamplighter.cli.runs import run_and_report
from lamplighter.errors import UsageError
from lamplighter.model.run import Direction
from lamplighter.report.documents import hold_document
from lamplighter.service.holds import find_domain, hold_domain
from lamplighter.service.run.command import Request

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

logger = logging.getLogger(__name__)

HELP = "keep a domain down, across reboots, until it is released"

#: The most characters of a reason, which is a sentence or two.
REASON_MAX = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("domain", metavar="DOMAIN", help="its name or UUID")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why the domain is held")
    parser.add_argument("--now", action="store_true", help="also stop it cleanly if it is running")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    reason = " ".join(args.reason.split())
    if not reason or len(reason) > REASON_MAX:
        raise UsageError(f"--reason: expected a sentence of at most {REASON_MAX} characters")
    configuration = context.configuration()
    domain = asyncio.run(find_domain(args.domain, configuration))
    hold = asyncio.run(hold_domain(domain, reason, configuration))
    if args.now:
        logger.info("%s is %s", hold.name, hold.description)
        return run_and_report(Request(Direction.DOWN, [hold.name]), context)
    if context.as_json:
        context.print_json(hold_document(hold.name, hold))
    else:
        context.print(
            f"{hold.name} is held: nothing starts it until lamplighter release {hold.name}.\n"
            f"If it is running, it is left running; lamplighter down {hold.name} stops it."
        )
    return 0
