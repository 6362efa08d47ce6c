"""``lamplighter monitor``: the long-running observer, usually run by systemd.

It logs domain events and ends on SIGTERM, SIGINT or SIGHUP. One monitor
watches a host; a second one ends with 75. Nothing depends on it: see ``service/monitor``.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.formats.state_json import watched_to_json
from lamplighter.host import lock
from lamplighter.host.systemd.notify import Notifier, watchdog_seconds
from lamplighter.service.monitor import open_monitor

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context

HELP = "record which domains start and stop, and why (run as a systemd service)"

#: The signals that end it.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Held by the one monitor of a host, in the run directory.
LOCK = "monitor.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    return asyncio.run(_run(context))


async def _run(context: Context) -> int:
    configuration = context.configuration()
    notifier = Notifier.from_environment(context.environ)
    seconds = watchdog_seconds(context.environ)
    loop = asyncio.get_running_loop()
    with lock.hold(Path(configuration.host.run.value) / LOCK, "watches this host"):
        async with open_monitor(configuration) as monitor:
            watching = asyncio.ensure_future(monitor.watch(notifier, seconds))
            for number in SIGNALS:
                loop.add_signal_handler(number, watching.cancel)
            with suppress(asyncio.CancelledError):
                await watching
    if context.as_json:
        context.print_json({**watched_to_json(monitor.watched()), "exit": 0})
    return 0
