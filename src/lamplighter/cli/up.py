"""``lamplighter up [DOMAIN...]``: start the wanted domains, or the named ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.cli import runs
from lamplighter.model.run import Direction
from lamplighter.service.run.command import Request

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "start wanted domains (or the named ones) and wait until they are up"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    runs.add_arguments(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    return runs.run_and_report(Request(Direction.UP, args.names), context)
