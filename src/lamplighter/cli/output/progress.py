"""The progress of a run, shown on standard error while it lasts, without delaying it.

On a terminal it is a live table (``cli/output/live``, the only part that needs rich); elsewhere,
such as in systemd's journal, it is a line for each transition. With ``--verbose`` it is lines on a
terminal, too, because the log would be written across the table; with ``--quiet`` only errors of
the run itself are shown. When standard error can no longer be written to, only the progress output
ends.
"""

from __future__ import annotations

import importlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from lamplighter.cli.output.logs import in_journal, mark
from lamplighter.cli.output.text import is_terminal, printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from lamplighter.cli.context import Context
    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Transition
    from lamplighter.service.run.progress import Listener

logger = logging.getLogger(__name__)


class Messages:
    """A ``Listener`` that logs what concerns the run itself, line by line, and nothing else."""

    def began(self, plan: Plan) -> None:
        """Log nothing."""

    def moved(self, transition: Transition) -> None:
        """Log nothing."""

    def guest_reported(self, name: str, text: str) -> None:
        """Log nothing."""

    def settled(self, result: Result) -> None:
        """Log nothing."""

    def message(self, level: int, message: str) -> None:
        """Log the message."""
        for line in message.splitlines():
            logger.log(level, "%s", line)


class Lines(Messages):
    """A ``Listener`` that also writes one line for each event.

    Seconds are host seconds since the run began. ``marked``: systemd's journal reads the stream.
    """

    def __init__(self, stream: TextIO, clock: Clock, *, marked: bool = False) -> None:
        self._stream: TextIO | None = stream
        self._marked = marked
        self._clock = clock
        self._began = clock.monotonic()
        self._width = 0

    def began(self, plan: Plan) -> None:
        """Keep the start time and the width of the names."""
        self._began = self._clock.monotonic()
        self._width = max((len(printable(step.name)) for step in plan.steps), default=0)

    def moved(self, transition: Transition) -> None:
        """Write the two phases and the reason; within one phase, what is new."""
        what = transition.after.value
        if transition.before is not transition.after:
            what = f"{transition.before.value} -> {what}"
        self._line(logging.INFO, transition.name, what, transition.detail)

    def guest_reported(self, name: str, text: str) -> None:
        """Write what the guest's agent reports."""
        self._line(logging.INFO, name, "says", text)

    def settled(self, result: Result) -> None:
        """Write the outcome."""
        level = logging.INFO if result.good else logging.WARNING
        self._line(level, result.name, f"= {result.outcome.value}", result.note)

    def _line(self, level: int, name: str, what: str, detail: str) -> None:
        if self._stream is None:
            return
        seconds = self._clock.monotonic() - self._began
        line = f"{seconds:7.1f}s  {printable(name):<{self._width}}  {what}"
        if detail:
            line += f": {printable(detail)}"
        try:
            self._stream.write(f"{mark(level) if self._marked else ''}{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


class _Live(Protocol):
    """The interface of ``cli/output/live``."""

    def watch(self, stream: TextIO, clock: Clock) -> AbstractAsyncContextManager[Listener]: ...


@asynccontextmanager
async def show_progress(context: Context, clock: Clock) -> AsyncIterator[Listener]:
    """Yield the listener that suits standard error and the log's level, and close it afterwards."""
    terminal = is_terminal(context.err) and context.environ.get("TERM", "dumb") != "dumb"
    if not logger.isEnabledFor(logging.INFO):
        yield Messages()
    elif terminal and not logger.isEnabledFor(logging.DEBUG):
        # rich takes longer to import than everything else together; at boot nobody watches.
        live: _Live = importlib.import_module("lamplighter.cli.output.live")
        async with live.watch(context.err, clock) as listener:
            yield listener
    else:
        yield Lines(context.err, clock, marked=in_journal(context.err, context.environ))
