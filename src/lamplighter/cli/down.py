"""``lamplighter down [DOMAIN...]``: stop all running domains, or the named ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.cli import runs
from lamplighter.errors import UsageError
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.run import Direction
from lamplighter.service.run.command import Request

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "stop running domains (or the named ones) cleanly and wait for them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    runs.add_arguments(parser)
    parser.add_argument(
        "--after-stop",
        action="store_true",
        help="for systemd's ExecStopPost=: only if the unit's stop has not stopped the domains",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    if args.after_stop and (args.names or not Notifier.from_environment(context.environ).active):
        raise UsageError(
            "--after-stop is only for the unit, where systemd runs it",
            hint="lamplighter down stops everything that runs",
        )
    request = Request(Direction.DOWN, args.names, after_stop=args.after_stop)
    return runs.run_and_report(request, context)
