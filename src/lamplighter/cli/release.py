"""``lamplighter release DOMAIN``: allow a held domain to be started. It starts nothing.

Where the intents and holds cannot be read, no domain starts unless it is named. ``--accept`` and
``--all`` are how a person says which domains are held then: those of the file, or none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import printable
from lamplighter.errors import UsageError
from lamplighter.report.documents import hold_document, holds_document
from lamplighter.service.holds import accept_intents, release_all, release_domain

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "release a held domain, so that it can be started again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("domain", metavar="DOMAIN", nargs="?", help="its name or UUID")
    parser.add_argument(
        "--all", action="store_true", help="release every domain, even if it is not known which"
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="release nothing: hold what intent.json says, although it is older than the journal",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    if (args.domain is not None) + args.all + args.accept != 1:
        raise UsageError("expected one of DOMAIN, --all and --accept")
    configuration = context.configuration()
    if args.all or args.accept:
        if args.all:
            released = sorted(hold.name for hold in asyncio.run(release_all(configuration)))
            held = []
        else:
            intents = asyncio.run(accept_intents(configuration))
            released, held = [], sorted(hold.name for hold in intents.holds.values())
        if context.as_json:
            context.print_json(holds_document(released, held))
        else:
            context.print(f"released: {printable(', '.join(released) or 'nothing')}")
            context.print(f"held: {printable(', '.join(held) or 'nothing')}")
        return 0
    name, hold = asyncio.run(release_domain(args.domain, configuration))
    if context.as_json:
        context.print_json(hold_document(name, None))
    elif hold is None:
        context.print(f"{name} was not held.")
    else:
        context.print(f"{name} was {hold.description}")
        context.print(f"It is released; lamplighter up {name} starts it.")
    return 0
