"""``lamplighter up [DOMAIN...]``: start what is wanted, or these domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.cli import runs
from lamplighter.model.run import Direction
from lamplighter.service.run.command import Request

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "start what is wanted (or the named domains) and wait until all have settled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    runs.add_arguments(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    return runs.run_and_report(Request(Direction.UP, args.names), context)
