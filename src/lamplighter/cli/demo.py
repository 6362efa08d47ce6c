"""``lamplighter demo``: a host's start and stop, shown on a temporary embedded host.

Every step is a real command line, carried out by the same code as when it is typed; only the
folder, the headings and the closing table are the demonstration's own. The folder and the host's
process are removed when it ends, for whatever reason.

The behaviour of the example host's guests, good or bad, is fixed, so the outcome of each is known
beforehand: two do not obey and are forced. The exit status is 0 when all end as ``EXPECTED`` says.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lamplighter.cli.context import CONFIG_VARIABLE
from lamplighter.cli.main import execute
from lamplighter.cli.output.text import counted, outcome_colour, style_of, table
from lamplighter.errors import UsageError
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.run import Result, Run

HELP = "show all of it on an embedded host: a dozen domains come up and go down"

#: How much faster than real time the host runs: the default, the least and the most. The
#: demonstration has to end within a minute, and real milliseconds must not count as seconds.
SPEED, SLOWEST, FASTEST = 1.0, 0.6, 20.0

#: The command lines, one after another, and the headings that say what they show.
COMMANDS = (
    (("plan", "up"), "A dozen domains are defined, none runs. What would happen, and why?"),
    (("up",), "The host comes up: what is wanted is started, each in its own time."),
    (("status",), "What runs now."),
    (("plan", "down"), "What would the host's stop do?"),
    (
        ("down",),
        "All are asked at once. Two do not obey: one forces its own end, one is destroyed.",
    ),
    (("history",), "What the journal kept of it."),
)

#: The exit statuses that a command may have: some of these guests must be forced.
ACCEPTED = (0, 1)

#: The signals that end the demonstration early: a key, a shutdown, a terminal that closes.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

HEADERS = ("DOMAIN", "UP", "DOWN", "WHAT IT IS LIKE")


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
    """Run the command; return the exit status: 0 when every domain ended as expected."""
    if not SLOWEST <= args.speed <= FASTEST:
        raise UsageError(f"--speed {args.speed:g}: expected {SLOWEST:g} to {FASTEST:g}")
    with _signals_interrupt(), _folder() as folder:
        environ = {**context.environ, CONFIG_VARIABLE: str(folder / "lamplighter.toml")}
        stage = _Stage(context, environ)
        try:
            status = _tell(stage, folder, args.speed)
        finally:
            stage.clear(folder)
        stage.answer(status)
    return status


def _tell(stage: _Stage, folder: Path, speed: float) -> int:
    start = ("host", "start", str(folder), "--speed", f"{speed:g}")
    for argv, says in ((start, "An embedded host begins: a Xen host in one process."), *COMMANDS):
        status = stage.type(argv, says)
        if status not in ACCEPTED:
            return status
    return stage.close(folder)


class _Stage:
    """Runs command lines, shows their answers, and keeps them."""

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

    def close(self, folder: Path) -> int:
        """Show how each domain's two runs ended; return 0 if all ended as expected."""
        reader = JournalReader(folder / "state")
        try:
            ending = Comparison(reader.runs(limit=2))
        finally:
            reader.close()
        if not self._context.as_json:
            heading = self._style.paint("# How it went, domain by domain.", "quiet")
            self._context.print(f"\n{heading}\n{ending.text(self._style)}")
        return 0 if ending.as_expected else 1

    def answer(self, status: int) -> None:
        """With ``--json``: print the document, whatever the status is."""
        if self._context.as_json:
            steps = [
                {"command": list(step.argv), "exit": step.status, "answer": step.document}
                for step in self._steps
            ]
            self._context.print_json({"steps": steps, "exit": status})

    def clear(self, folder: Path) -> None:
        """Stop the host; the signals that would interrupt that are ignored meanwhile."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        try:
            execute(("host", "stop", str(folder)), self._environ, io.StringIO(), io.StringIO())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _type_for_json(self, argv: tuple[str, ...]) -> int:
        answer = io.StringIO()
        status = execute((*argv, "--json"), self._environ, answer, self._context.err)
        document = json.loads(answer.getvalue()) if answer.getvalue() else None  # interrupted
        self._steps.append(_Step(argv, status, document))
        return status


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lamplighter-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``KeyboardInterrupt``, as SIGINT does already."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    mine = [number for number in SIGNALS[1:] if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One domain's behaviour and its expected outcomes; None: the run does not involve it."""

    like: str
    up: Outcome | None = Outcome.STARTED
    down: Outcome | None = Outcome.CLEAN


EXPECTED = {
    "backup": Expectation("powers off by itself when its work is done", down=None),
    "build": Expectation("reboots when asked to power off; is asked again"),
    "cache": Expectation("is to be suspended: refused, so it is shut down"),
    "db": Expectation("writes its tables back; its agent says how far it is"),
    "files": Expectation("acknowledges, then hangs: its agent forces its end", down=Outcome.FORCED),
    "firewall": Expectation("its policy leaves it running", down=Outcome.SKIPPED),
    "legacy": Expectation("never acknowledges: must be destroyed", down=Outcome.FORCED),
    "mail": Expectation("takes its time, and obeys"),
    "metrics": Expectation("fills control/shutdown with random bytes"),
    "queue": Expectation("is deaf until it has booted"),
    "staging": Expectation("is started by hand only", up=Outcome.SKIPPED, down=None),
    "web": Expectation("obeys at once"),
    "windows": Expectation("has no Xen drivers; feels the power button"),
}


class Comparison:
    """How the two runs ended, compared with how they should end."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._ends: dict[Direction, dict[str, Result]] = {one: {} for one in Direction}
        for run in runs:
            self._ends[run.direction].update({result.name: result for result in run.results})

    @property
    def as_expected(self) -> bool:
        """Whether every domain ended both runs as ``EXPECTED`` says."""
        return not self.differences()

    def differences(self) -> list[str]:
        """Return one line for each outcome that differs from ``EXPECTED``."""
        lines = []
        for name, part in EXPECTED.items():
            for direction, expected in ((Direction.UP, part.up), (Direction.DOWN, part.down)):
                result = self._ends[direction].get(name)
                if (result.outcome if result else None) is not expected:
                    told = f": {result.note}" if result and result.note else ""
                    lines.append(
                        f"{name}: {direction.value} was to end {_word(expected)}, "
                        f"it ended {_word(result.outcome if result else None)}{told}"
                    )
        return lines

    def text(self, style: Style) -> str:
        """Lay out each domain's two outcomes, and whether they are the expected ones."""
        rows, colours = [], []
        for name, part in sorted(EXPECTED.items()):
            pair = [self._ends[direction].get(name) for direction in Direction]
            rows.append((name, *(r.outcome.value if r else "-" for r in pair), part.like))
            colours.append(_colours(pair))
        laid_out = table(HEADERS, rows, style, colours=colours)
        return f"{laid_out}\n\n{self._verdict(style)}"

    def _verdict(self, style: Style) -> str:
        if differences := self.differences():
            told = "\n".join(f"    {line}" for line in differences)
            return style.paint("This is not the story that was to be told:", "bad") + f"\n{told}"
        up, down = self._ends[Direction.UP], self._ends[Direction.DOWN]
        forced = [name for name, result in sorted(down.items()) if result.outcome is Outcome.FORCED]
        story = (
            f"{counted(_count(up, Outcome.STARTED), 'domain')} came up with the host; "
            f"{_count(down, Outcome.CLEAN)} of them went down cleanly, {len(forced)} were forced "
            f"({', '.join(forced)})\nbecause they are made not to obey. "
            "None waited for another. The story went as told."
        )
        return style.paint(story, "good")


def _colours(pair: list[Result | None]) -> Mapping[int, str]:
    return {
        column: outcome_colour(result.outcome, good=result.good)
        for column, result in enumerate(pair, 1)
        if result
    }


def _count(results: Mapping[str, Result], outcome: Outcome) -> int:
    return sum(result.outcome is outcome for result in results.values())


def _word(outcome: Outcome | None) -> str:
    return outcome.value if outcome else "without it"
