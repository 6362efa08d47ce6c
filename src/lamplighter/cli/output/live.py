"""The live table of a run on a terminal: one row per domain, with phase, time and progress bar.

A row's bar fills towards the time after which the run stops waiting for the domain: its
``start_timeout`` or its ``stop_timeout``. What the agent in the guest reports replaces the bar.
When there are more domains than lines, those still under way are shown, the longest first, and the
rest is in the counts. Events only change a row's data; the table is drawn a few times a second,
however many events there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lamplighter.cli.output.text import duration, outcome_colour, printable
from lamplighter.formats.agent_protocol import quoted
from lamplighter.host.clock import LoopClock
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Verb
from lamplighter.model.run import Direction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Transition

#: Real seconds between two frames.
FRAME = 0.12

#: Lines that the rows leave free: for the counts, the prompt and the messages above.
MARGIN = 4

BAR_WIDTH = 24
WIDEST_NAME = 32
PHASE_WIDTH = max(len(phase.value) for phase in Phase)
SECONDS_WIDTH = len("99 min 59 s")

COLOURS = {"good": "green", "bad": "red", "busy": "yellow", "quiet": "dim"}


@dataclass(slots=True)
class _Row:
    """What is known of one domain's part in the run."""

    name: str
    phase: Phase
    limit: float
    began: float | None = None
    note: str = ""
    result: Result | None = None


class LiveTable:
    """A ``Listener`` that keeps the table's data; ``draw`` renders it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._direction = Direction.UP
        self._rows: dict[str, _Row] = {}
        self._messages: list[str] = []

    def began(self, plan: Plan) -> None:
        """Make the rows."""
        self._began = self._clock.monotonic()
        self._direction = plan.direction
        self._rows = {}
        for step in plan.steps:
            up, policy = step.verb is Verb.START, step.policy
            limit = policy.start_timeout.value if up else policy.stop_timeout.value
            self._rows[step.name] = _Row(step.name, Phase.ABSENT if up else Phase.UP, limit)

    def moved(self, transition: Transition) -> None:
        """Change a row's phase."""
        row = self._rows.get(transition.name)
        if row is not None:
            if transition.before is transition.after:
                row.note = transition.detail or row.note
            row.phase = transition.after
            if row.began is None:
                row.began = self._clock.monotonic()

    def guest_reported(self, name: str, text: str) -> None:
        """Show what the agent reports, in quotes: the host's own notes appear there, too."""
        row = self._rows.get(name)
        if row is not None:
            row.note = quoted(text)

    def settled(self, result: Result) -> None:
        """End a row."""
        row = self._rows.get(result.name)
        if row is not None:
            row.result = result

    def message(self, level: int, message: str) -> None:
        """Keep the message; it is printed above the next frame."""
        self._messages.append(message)

    def take_messages(self) -> list[str]:
        """Return and clear the messages that were kept."""
        messages, self._messages = self._messages, []
        return messages

    def draw(self, height: int) -> RenderableType:
        """Draw the rows that fit, and the counts."""
        now = self._clock.monotonic()
        widest = max((len(printable(name)) for name in self._rows), default=0)
        table = Table.grid(padding=(0, 2), expand=True)
        for width in (min(widest, WIDEST_NAME), PHASE_WIDTH, SECONDS_WIDTH):
            table.add_column(width=width, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True)
        shown = rows = list(self._rows.values())
        active = [row for row in rows if row.result is None and row.began is not None]
        room = max(1, height - MARGIN)
        if len(rows) > room:
            shown = sorted(active, key=lambda row: row.began or 0.0)[:room]
        for row in shown:
            table.add_row(*_cells(row, now))
        ends = Counter(row.result.outcome.value for row in rows if row.result)
        numbers = {
            **dict(sorted(ends.items())),
            "under way": len(active),
            "waiting": len(rows) - len(active) - ends.total(),
            "not shown": len(rows) - len(shown),
        }
        counts = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
        line = f"{self._direction.value}  {duration(now - self._began)}  {counts}"
        return Group(table, Text(line, style="bold", no_wrap=True, overflow="ellipsis"))


def _cells(row: _Row, now: float) -> tuple[RenderableType, ...]:
    name = Text(printable(row.name), overflow="ellipsis")
    if row.result is not None:
        colour = COLOURS[outcome_colour(row.result.outcome, good=row.result.good)]
        seconds = duration(row.result.seconds) if row.result.seconds else ""
        note = Text(printable(row.result.note), style="dim", overflow="ellipsis")
        return name, Text(row.result.outcome.value, style=colour), Text(seconds), note
    if row.began is None:
        return name, Text("waiting", style="dim"), Text(""), Text("")
    elapsed = now - row.began
    bar = ProgressBar(total=row.limit, completed=min(elapsed, row.limit), width=BAR_WIDTH)
    limit = Text(f"of {duration(row.limit)}", style="dim")
    line = Table.grid(padding=(0, 1))
    line.add_column()
    line.add_column(no_wrap=True)  # a row is one line, however narrow the terminal is
    if row.note:  # it replaces the bar
        line.add_row(limit, Text(printable(row.note), overflow="ellipsis"))
    else:
        line.add_row(bar, limit)
    return name, Text(row.phase.value, style=COLOURS["busy"]), Text(duration(elapsed)), line


@asynccontextmanager
async def watch(stream: TextIO, clock: Clock) -> AsyncIterator[LiveTable]:
    """Draw a run on this terminal while the block lasts; the table is erased afterwards."""
    table = LiveTable(clock)
    # highlight and markup would interpret names and notes.
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False,
                redirect_stdout=False, vertical_overflow="crop")  # fmt: skip
    drawing = asyncio.create_task(_draw_until_cancelled(live, table))
    try:
        yield table
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError):
            await drawing


async def _draw_until_cancelled(live: Live, table: LiveTable) -> None:
    """Draw until cancelled; a closed terminal ends the drawing, not the run."""
    real_time = LoopClock()
    try:
        with live:
            try:
                while True:
                    _draw(live, table)
                    await real_time.sleep(FRAME)
            finally:
                _draw(live, table)
    except (OSError, ValueError):
        return


def _draw(live: Live, table: LiveTable) -> None:
    for message in table.take_messages():
        for line in message.splitlines():
            live.console.print(Text(f"lamplighter: {printable(line)}"))
    live.update(table.draw(live.console.height), refresh=True)
