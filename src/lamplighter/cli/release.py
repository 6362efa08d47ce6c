"""``lamplighter release DOMAIN``: allow a held domain to be started. It starts nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lamplighter.report.documents import hold_document
from lamplighter.service.holds import release_domain

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "release a held domain, so that it can be started again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("domain", metavar="DOMAIN", help="its name or UUID")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    configuration = context.configuration()
    name, hold = asyncio.run(release_domain(args.domain, configuration, context.warn))
    if context.as_json:
        context.print_json(hold_document(name, None))
    elif hold is None:
        context.print(f"{name} was not held.")
    else:
        context.print(f"{name} was {hold.told}\nIt is released; lamplighter up {name} starts it.")
    return 0
