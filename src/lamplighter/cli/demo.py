"""``lamplighter demo``: the whole story on an embedded host of its own.

Every step is a real command line, carried out by the same code as when it is typed; the only
things of the demonstration's own are the folder, the headings and the closing table. The folder
and the host's process are gone when it ends, however it ends.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lamplighter.cli.context import CONFIG_VARIABLE
from lamplighter.cli.main import execute
from lamplighter.cli.text import counted, outcome_colour, style_of, table
from lamplighter.errors import UsageError
from lamplighter.host.journal_reader import JournalReader
from lamplighter.model.plan import Direction

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from lamplighter.cli.context import Context
    from lamplighter.cli.text import Style
    from lamplighter.model.outcome import Result
    from lamplighter.model.run import Run

HELP = "show all of it on an embedded host: a dozen domains come up and go down"

#: How much faster than real time the host runs unless it is said otherwise.
SPEED = 1.5

#: What is typed, one after another, and what it shows.
STORY = (
    (("status",), "What is there: a host with a dozen domains, none of them running."),
    (("plan", "up"), "What would happen, and why. Nothing is changed."),
    (("up",), "The host comes up: what is wanted is started, each in its own time."),
    (("status",), "What runs now, and why some do not."),
    (("plan", "down"), "What the host's stop would do."),
    (("down",), "The host goes down: all are asked at once, none waits for another."),
    (("history",), "What the journal kept of it."),
)

CLOSING_HEADERS = ("DOMAIN", "UP", "DOWN", "NOTE")


@dataclass(frozen=True, slots=True)
class _Step:
    """One command that was carried out; ``document`` is its answer with ``--json``."""

    argv: tuple[str, ...]
    status: int
    document: object = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--speed",
        metavar="N",
        type=float,
        default=SPEED,
        help=f"run the host N times as fast as real time (default {SPEED:g})",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Do it; return the exit status: 0 when every command did what it is there for."""
    if not 0.1 <= args.speed <= 1000:
        raise UsageError(f"--speed {args.speed:g}: it must lie between 0.1 and 1000")
    with _folder() as folder, _terminations_interrupt():
        environ = {**context.environ, CONFIG_VARIABLE: str(folder / "lamplighter.toml")}
        stage = _Stage(context, environ)
        try:
            return _tell(stage, folder, args.speed)
        finally:
            stage.quietly(("host", "stop", str(folder)))


def _tell(stage: _Stage, folder: Path, speed: float) -> int:
    start = ("host", "start", str(folder), "--speed", f"{speed:g}")
    for argv, says in ((start, "An embedded host begins: a Xen host in one process."), *STORY):
        status = stage.type(argv, says)
        # 1 is an honest answer here: among these guests are some that must be forced.
        if status not in (0, 1):
            return status
    return stage.close(folder)


class _Stage:
    """Types commands, shows what they answer, and remembers it for the closing table."""

    def __init__(self, context: Context, environ: Mapping[str, str]) -> None:
        self._context = context
        self._environ = environ
        self._style = style_of(context.out, context.environ)
        self._steps: list[_Step] = []

    def type(self, argv: tuple[str, ...], says: str) -> int:
        """Carry out one command line as if it had been typed; return its exit status."""
        if self._context.as_json:
            return self._type_for_json(argv)
        shown = self._style.paint(f"$ lamplighter {' '.join(argv)}", "strong")
        self._context.print(f"\n{self._style.paint(f'# {says}', 'quiet')}\n{shown}")
        status = execute(argv, self._environ, self._context.out, self._context.err)
        self._steps.append(_Step(argv, status))
        return status

    def quietly(self, argv: tuple[str, ...]) -> None:
        """Carry out one command line whose answer nobody needs."""
        execute(argv, self._environ, io.StringIO(), io.StringIO())

    def close(self, folder: Path) -> int:
        """Show how each domain's two runs ended."""
        reader = JournalReader(folder / "state")
        try:
            runs = reader.runs(limit=2)
        finally:
            reader.close()
        if self._context.as_json:
            steps = [
                {"command": list(step.argv), "exit": step.status, "answer": step.document}
                for step in self._steps
            ]
            self._context.print_json({"steps": steps, "exit": 0})
        else:
            self._context.print(f"\n{closing_text(runs, self._style)}")
        return 0

    def _type_for_json(self, argv: tuple[str, ...]) -> int:
        answer = io.StringIO()
        status = execute((*argv, "--json"), self._environ, answer, self._context.err)
        self._steps.append(_Step(argv, status, json.loads(answer.getvalue())))
        return status


def closing_text(runs: list[Run], style: Style) -> str:
    """Lay out each domain's way up and down, and count how they ended."""
    ends: dict[Direction, dict[str, Result]] = {direction: {} for direction in Direction}
    for one in runs:
        ends[one.direction].update({result.name: result for result in one.results})
    up, down = ends[Direction.UP], ends[Direction.DOWN]
    rows, colours = [], []
    for name in sorted({*up, *down}):
        pair = (up.get(name), down.get(name))
        told = [result.outcome.value if result else "-" for result in pair]
        notes = dict.fromkeys(result.note for result in pair if result and result.note)
        rows.append((name, *told, "; ".join(notes)))
        colours.append(
            {
                column: outcome_colour(result.outcome, good=result.good)
                for column, result in enumerate(pair, 1)
                if result
            },
        )
    counts = Counter(result.outcome.value for result in down.values())
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    sentence = f"{counted(len(rows), 'domain')} came up and went down with the host: {said}."
    return f"{table(CLOSING_HEADERS, rows, style, colours=colours)}\n\n{sentence}"


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lamplighter-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminations_interrupt() -> Iterator[None]:
    """Let a termination be an interruption, so that it tidies up, too."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
