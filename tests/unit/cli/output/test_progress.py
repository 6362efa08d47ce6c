"""Progress: a line a transition in logs, a picture on terminals, and never in the run's way."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from lamplighter.cli.context import Context
from lamplighter.cli.output.live import LiveTable
from lamplighter.cli.output.logs import log_to, show_from
from lamplighter.cli.output.progress import Lines, show_progress
from lamplighter.host.clock import LoopClock
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Plan, Step, Verb
from lamplighter.model.policy import Policy
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from lamplighter.service.run.progress import Listener

#: What no guest could say that is read as the contract says; and it must not reach a terminal.
TEXT = "stopping \x1b[2J, 40 %"

AT = datetime(2025, 3, 1, tzinfo=UTC)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return AT

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def timeout(self, seconds: float | None) -> LoopClock:
        raise NotImplementedError


def plan(*names: str, verb: Verb = Verb.STOP) -> Plan:
    return Plan(Direction.DOWN, tuple(Step(name, verb, "because", Policy()) for name in names))


def moved(name: str, before: Phase, after: Phase, detail: str = "") -> Transition:
    return Transition(name, None, 1, before, after, detail, AT)


def tell_a_run(listener: Listener, clock: Hands) -> None:
    listener.began(plan("db", "webserver"))
    clock.now += 1.25
    listener.moved(moved("db", Phase.UP, Phase.ASKED, "poweroff"))
    clock.now += 10
    listener.moved(moved("db", Phase.ASKED, Phase.ACKNOWLEDGED))
    listener.message(logging.ERROR, "the disk is full\nsecond line")
    listener.settled(Result("webserver", None, 2, Outcome.FORCED, 11.0, "it hung", good=False))


def test_lines() -> None:
    stream, clock = io.StringIO(), Hands()
    with log_to(stream, {}):
        tell_a_run(Lines(stream, clock), clock)
    assert stream.getvalue().splitlines() == [
        "    1.2s  db         up -> asked: poweroff",
        "   11.2s  db         asked -> acknowledged",
        "lamplighter: the disk is full",
        "lamplighter: second line",
        "   11.2s  webserver  = forced: it hung",
    ]


def test_lines_in_the_journal_have_their_levels() -> None:
    read, write = os.pipe()
    status = os.fstat(write)
    with os.fdopen(write, "w") as stream:
        watch_on(stream, run_with_hands, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
    with os.fdopen(read) as journal:
        assert [line.split()[0] for line in journal] == [
            "<6>",
            "<6>",
            "<3>lamplighter:",
            "<3>lamplighter:",
            "<4>",
        ]


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_only_errors_are_shown_to_who_wants_it_quiet(
    terminal: tuple[int, TextIO], term: str
) -> None:
    main, stream = terminal
    watch_on(stream, run_with_hands, level=logging.ERROR, TERM=term)
    assert read_all(main).splitlines() == [
        "lamplighter: the disk is full",
        "lamplighter: second line",
    ]


def test_with_the_log_s_details_a_terminal_gets_lines(terminal: tuple[int, TextIO]) -> None:
    main, stream = terminal
    watch_on(stream, run_with_hands, level=logging.DEBUG)
    shown = read_all(main)
    assert "asked -> acknowledged" in shown
    assert "\x1b" not in shown


def test_a_guests_bytes_do_not_reach_the_terminal() -> None:
    stream, clock = io.StringIO(), Hands()
    lines = Lines(stream, clock)
    lines.moved(moved("e\x1b[2Jvil", Phase.UP, Phase.ASKED, "a\x07b"))
    with log_to(stream, {}):
        lines.message(logging.WARNING, "c\x1bd")
    assert (
        stream.getvalue() == "    0.0s  e\\x1b[2Jvil  up -> asked: a\\x07b\nlamplighter: c\\x1bd\n"
    )


def test_lines_show_what_a_guest_says_and_that_more_time_is_granted() -> None:
    stream = io.StringIO()
    lines = Lines(stream, Hands())
    lines.guest_reported("db", TEXT)
    lines.moved(moved("db", Phase.ACKNOWLEDGED, Phase.ACKNOWLEDGED, "30s more granted"))
    assert stream.getvalue().splitlines() == [
        "    0.0s  db  says: stopping \\x1b[2J, 40 %",
        "    0.0s  db  acknowledged: 30s more granted",
    ]


class Gone(io.StringIO):
    """A stream whose reader went away."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise BrokenPipeError


def test_a_stream_that_is_gone_stops_nothing() -> None:
    clock, gone = Hands(), Gone()
    tell_a_run(Lines(gone, clock), clock)
    assert gone.tries == 1
    closed = io.StringIO()
    closed.close()
    tell_a_run(Lines(closed, clock), clock)


# --- the live picture ------------------------------------------------------------------------


def drawn(table: LiveTable, *, height: int = 24, width: int = 72) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, legacy_windows=False)
    console.print(table.draw(height))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_picture_has_a_row_a_domain_and_the_counts() -> None:
    clock = Hands()
    table = LiveTable(clock)
    table.began(plan("db", "mail", "web"))
    table.moved(moved("db", Phase.UP, Phase.ASKED))
    clock.now += 90
    table.moved(moved("db", Phase.ASKED, Phase.ACKNOWLEDGED))
    table.settled(Result("mail", None, 2, Outcome.FORCED, 80.0, "it hung", good=False))
    assert drawn(table) == [
        "db    acknowledged  90.0 s       ━━━━━━━━━━━━             of 3 min 00 s",
        "mail  forced        80.0 s       it hung",
        "web   waiting",
        "down  90.0 s  1 forced, 1 under way, 1 waiting",
    ]


def test_what_a_guest_says_stands_beside_its_phase() -> None:
    table = LiveTable(Hands())
    table.began(plan("db"))
    table.moved(moved("db", Phase.UP, Phase.ASKED))
    table.moved(moved("db", Phase.ASKED, Phase.ACKNOWLEDGED))
    table.guest_reported("db", TEXT)
    table.guest_reported("other", TEXT)
    assert drawn(table)[0] == (
        'db  acknowledged  0.0 s        of 3 min 00 s "stopping \\x1b[2J, 40 %"'
    )
    table.moved(moved("db", Phase.ACKNOWLEDGED, Phase.ACKNOWLEDGED, "30s more granted"))
    assert drawn(table)[0].endswith("of 3 min 00 s 30s more granted")


def test_with_too_many_domains_the_longest_under_way_are_shown() -> None:
    clock = Hands()
    table = LiveTable(clock)
    names = [f"d{i}" for i in range(50)]
    table.began(plan(*names))
    for name in reversed(names[10:]):
        clock.now += 1
        table.moved(moved(name, Phase.UP, Phase.ASKED))
    table.settled(Result("d49", None, 2, Outcome.CLEAN, 1.0))
    lines = drawn(table, height=8)
    assert [line.split()[0] for line in lines] == ["d48", "d47", "d46", "d45", "down"]
    assert lines[-1] == "down  40.0 s  1 clean, 39 under way, 10 waiting, 46 not shown"


def test_markup_and_control_characters_in_names_are_only_text() -> None:
    table = LiveTable(Hands())
    table.began(plan("[red]a[/red]", "b\x1b[2J"))
    assert [line.split("  ")[0] for line in drawn(table)[:2]] == ["[red]a[/red]", "b\\x1b[2J"]


def test_an_event_of_a_domain_outside_the_plan_is_passed_over() -> None:
    table = LiveTable(Hands())
    table.began(plan("db"))
    table.moved(moved("other", Phase.UP, Phase.ASKED))
    table.settled(Result("other", None, 2, Outcome.CLEAN, 1.0))
    assert len(drawn(table)) == 2


def watch_on(
    stream: TextIO, body: Callable[[Listener], None], *, level: int = logging.INFO, **environ: str
) -> None:
    context = Context(
        Path("x"),
        explicit=False,
        as_json=False,
        out=io.StringIO(),
        err=stream,
        environ={"TERM": "xterm", **environ},
    )

    async def main() -> None:
        clock = LoopClock()
        async with show_progress(context, clock) as listener:
            body(listener)
            await clock.sleep(0.5)

    with log_to(stream, context.environ):
        show_from(level)
        virtual.run(main())


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    main, secondary = pty.openpty()
    stream = os.fdopen(secondary, "w")
    yield main, stream
    with suppress(OSError):  # a test may have hung up
        stream.close()
        os.close(main)


def read_all(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    parts = []
    with suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            parts.append(part)
    return b"".join(parts).decode()


def run_with_hands(listener: Listener) -> None:
    tell_a_run(listener, Hands())


def test_a_terminal_gets_the_picture_and_is_left_clean(terminal: tuple[int, TextIO]) -> None:
    main, stream = terminal
    watch_on(stream, run_with_hands)
    shown = read_all(main)
    assert "under way" in shown
    assert "lamplighter: the disk is full" in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the picture is erased at the end"
    assert "\x1b[?25h" in shown, "the cursor is back"


def test_a_dumb_terminal_gets_lines(terminal: tuple[int, TextIO]) -> None:
    main, stream = terminal
    watch_on(stream, run_with_hands, TERM="dumb")
    shown = read_all(main)
    assert "asked -> acknowledged" in shown
    assert "\x1b" not in shown


def test_a_terminal_that_went_away_stops_nothing(terminal: tuple[int, TextIO]) -> None:
    main, stream = terminal
    heard = []

    def hang_up(listener: Listener) -> None:
        os.close(main)
        run_with_hands(listener)
        heard.append(True)

    watch_on(stream, hang_up)
    assert heard == [True]


def test_lines_do_not_import_rich() -> None:
    asked = (
        "import sys, lamplighter.cli.output.progress, lamplighter.cli.output.report; "
        "print('rich' in sys.modules)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", asked], env=environ, stdout=subprocess.PIPE, check=True
    )
    assert answer.stdout == b"False\n"


@pytest.mark.parametrize("width", [30, 40, 50])
def test_a_row_stays_one_line_on_a_narrow_terminal(width: int) -> None:
    clock = Hands()
    table = LiveTable(clock)
    table.began(plan("db", "mail"))
    table.moved(moved("db", Phase.UP, Phase.ASKED))
    table.moved(moved("mail", Phase.UP, Phase.ASKED))
    clock.now += 12.3
    lines = drawn(table, width=width)
    assert [line.split()[0][:2] for line in lines] == ["db", "ma", "do"]
