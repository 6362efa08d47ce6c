"""``lamplighter demo``: a host's start and stop, shown on a temporary embedded host.

Every step is a real command line, carried out by the same code as when it is typed; only the
folder, the headings and the closing table belong to the demonstration. The folder and the host's
process are removed when it ends, for whatever reason.

The behaviour of the example host's guests, good or bad, is fixed, so the outcome of each is known
beforehand: two do not obey and are forced. The exit status is 0 when all end as ``EXPECTED`` says.
"""

from __future__ import annotations

import io
import json
import signal
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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

#: The heading of the first command, which starts the host.
FIRST_HEADING = "An embedded host begins: a Xen host in one process."

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
    temporary = TemporaryDirectory(prefix="lamplighter-demo-", ignore_cleanup_errors=True)
    with _signals_interrupt(), temporary as name:
        folder = Path(name)
        start = ("host", "start", name, "--speed", f"{args.speed:g}")
        environ = {**context.environ, CONFIG_VARIABLE: str(folder / "lamplighter.toml")}
        stage = _Stage(context, environ)
        try:
            for argv, heading in ((start, FIRST_HEADING), *COMMANDS):
                status = stage.type(argv, heading)
                if status not in ACCEPTED:
                    break
            else:
                status = stage.close(folder)
        finally:
            stage.clear(folder)
        stage.answer(status)
    return status


class _Stage:
    """Runs command lines, shows their answers, and keeps them."""

    def __init__(self, context: Context, environ: Mapping[str, str]) -> None:
        self._context = context
        self._environ = environ
        self._style = style_of(context.out, context.environ)
        self._steps: list[_Step] = []

    def type(self, argv: tuple[str, ...], heading: str) -> int:
        """Carry out one command line as if it had been typed; return its exit status."""
        document = None
        if self._context.as_json:
            answer = io.StringIO()
            status = execute((*argv, "--json"), self._environ, answer, self._context.err)
            if answer.getvalue():  # an interrupted command leaves none
                document = json.loads(answer.getvalue())
        else:
            command = self._style.paint(f"$ lamplighter {' '.join(argv)}", "strong")
            self._context.print(f"\n{self._style.paint(f'# {heading}', 'quiet')}\n{command}")
            status = execute(argv, self._environ, self._context.out, self._context.err)
        self._steps.append(_Step(argv, status, document))
        return status

    def close(self, folder: Path) -> int:
        """Show how each domain's two runs ended; return 0 if all ended as expected."""
        with closing(JournalReader(folder / "state")) as reader:
            ending = Comparison(reader.runs(limit=2))
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
    "queue": Expectation("ignores requests until it has booted"),
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
                    note = f": {result.note}" if result and result.note else ""
                    lines.append(
                        f"{name}: {direction.value} was to end {_word(expected)}, "
                        f"it ended {_word(result.outcome if result else None)}{note}"
                    )
        return lines

    def text(self, style: Style) -> str:
        """Lay out each domain's two outcomes, and whether they are the expected ones."""
        rows, colours = [], []
        for name, part in sorted(EXPECTED.items()):
            pair = [self._ends[direction].get(name) for direction in Direction]
            rows.append((name, *(r.outcome.value if r else "-" for r in pair), part.like))
            ended = [(column, result) for column, result in enumerate(pair, 1) if result]
            colours.append({c: outcome_colour(r.outcome, good=r.good) for c, r in ended})
        if differences := self.differences():
            lines = [style.paint("This is not the story that was to be told:", "bad")]
            story = "\n".join([*lines, *(f"    {line}" for line in differences)])
        else:
            up, down = self._ends[Direction.UP], self._ends[Direction.DOWN]
            forced = sorted(name for name, r in down.items() if r.outcome is Outcome.FORCED)
            story = style.paint(
                f"{counted(_count(up, Outcome.STARTED), 'domain')} came up with the host; "
                f"{_count(down, Outcome.CLEAN)} of them went down cleanly, {len(forced)} were "
                f"forced ({', '.join(forced)})\nbecause they are made not to obey. "
                "None waited for another. The story went as told.",
                "good",
            )
        return f"{table(HEADERS, rows, style, colours=colours)}\n\n{story}"


def _count(results: Mapping[str, Result], outcome: Outcome) -> int:
    return sum(result.outcome is outcome for result in results.values())


def _word(outcome: Outcome | None) -> str:
    return outcome.value if outcome else "without it"
