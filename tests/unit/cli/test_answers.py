"""The answers of ``status``, ``plan`` and ``demo`` as text, and the exit statuses behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from lamplighter.cli import plan, status
from lamplighter.cli.demo import EXPECTED, Comparison
from lamplighter.cli.output.text import Style
from lamplighter.embedded.examples import definitions
from lamplighter.engine.status import Row, Seen, Wanted
from lamplighter.errors import CallFailed, CallTimedOut, LamplighterError, ToolstackUnreachable
from lamplighter.formats.agent_protocol import AgentStatus, Forced, Progress
from lamplighter.model.domain import Definition, DomainInfo, Kind
from lamplighter.model.plan import Plan, Step, Verb
from lamplighter.model.policy import Policy
from lamplighter.model.problem import Problem
from lamplighter.model.run import Direction, Outcome, Result, Run, exit_status
from lamplighter.report.documents import status_document
from lamplighter.service.run import prepare
from tests import virtual

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
LOCAL = f"{AT.astimezone():%Y-%m-%d %H:%M:%S}"
FATAL = Problem("syntax", "a string has no end")
WARNING = Problem("suspend-refused", "it is shut down instead", domain="db", fatal=False)


def row(name: str, wanted: Wanted, seen: Seen, why: str = "", domid: int | None = None) -> Row:
    return Row(name, UUID(int=1), domid, wanted, seen, AT if domid else None, why)


def test_status_lines_up_and_counts() -> None:
    rows = [
        row("db", Wanted.UP, Seen.RUNNING, domid=3),
        row("web", Wanted.UP, Seen.ABSENT, "should be up and is not"),
        row("byhand", Wanted.NOTHING, Seen.PAUSED, "is paused", domid=12),
    ]
    assert status.status_text(rows, Style()).splitlines() == [
        "DOMAIN  DOMID  WANTED  SEEN     " + "SINCE".ljust(len(LOCAL)) + "  WHY",
        f"db      3      up      running  {LOCAL}",
        "web     -      up      absent   " + "-".ljust(len(LOCAL)) + "  should be up and is not",
        f"byhand  12     -       paused   {LOCAL}  is paused",
        "",
        "3 domains: 2 wanted up, 2 running.",
    ]


def test_status_never_counts_what_it_could_not_read() -> None:
    text = status.status_text([row("db", Wanted.UP, Seen.UNKNOWN, "could not")], Style())
    assert text.endswith("\n\n1 domain: what runs could not be read.")
    assert status.status_text([], Style()) == "no domain is defined and none runs"


READY = AgentStatus("0.2.0", ready=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (AgentStatus("0.2.0"), "agent 0.2.0"),
        (READY, "ready"),
        (AgentStatus("0.2.0", ready=False), "not ready"),
        (
            READY._replace(ready=False, waits_for="10-db: exit status 1"),
            "not ready: 10-db: exit st",
        ),
        (READY._replace(progress=Progress("stopping postgresql", 40)), "stopping postgresql, 40 %"),
        (READY._replace(progress=Progress("stopping")), "stopping"),
        (
            READY._replace(forced=Forced("poweroff", "it hangs")),
            "forces its own poweroff: it hangs",
        ),
        (READY._replace(waits_for="", progress=Progress("x" * 180)), f"{'x' * 48}..."),
        (READY._replace(progress=Progress("a\x1b[2J")), "a\\x1b[2J"),
    ],
)
def test_guests_reports_have_a_column_where_there_are_any(words: AgentStatus, told: str) -> None:
    rows = [
        row("db", Wanted.UP, Seen.RUNNING, "why not", domid=3)._replace(guest=words),
        row("web", Wanted.UP, Seen.RUNNING, domid=4),
    ]
    header, first, second, *_ = status.status_text(rows, Style()).splitlines()
    assert header.split() == ["DOMAIN", "DOMID", "WANTED", "SEEN", "SINCE", "GUEST", "WHY"]
    assert told in first
    assert first.endswith("  why not")
    assert second.endswith(LOCAL)
    assert "GUEST" not in status.status_text([rows[1]], Style())


def test_guests_reports_as_a_document() -> None:
    progress = Progress("stopping", 40)
    words = READY._replace(ready=False, waits_for="10-db", progress=progress, garbled=("more",))
    rows = [
        row("db", Wanted.UP, Seen.RUNNING)._replace(guest=words),
        row("web", Wanted.UP, Seen.RUNNING),
    ]
    document = status_document(rows, (), None, 0)
    assert isinstance(document["domains"], list)
    assert [one["guest"] for one in document["domains"]] == [
        {
            "version": "0.2.0",
            "ready": False,
            "waits_for": "10-db",
            "progress": {"text": "stopping", "percent": 40},
            "forced": None,
            "garbled": ["more"],
        },
        None,
    ]
    forced = words._replace(forced=Forced("reboot"), progress=None, waits_for="", ready=None)
    document = status_document([rows[0]._replace(guest=forced)], (), None, 0)
    assert isinstance(document["domains"], list)
    (one,) = document["domains"]
    assert one["guest"]["forced"] == {"request": "reboot", "why": None}
    assert (one["guest"]["waits_for"], one["guest"]["progress"]) == (None, None)


@pytest.mark.parametrize(
    ("rows", "problems", "expected"),
    [
        ([], (), 0),
        ([row("db", Wanted.UP, Seen.RUNNING), row("w", Wanted.UP, Seen.BOOTING)], (), 0),
        ([row("db", Wanted.DOWN, Seen.RUNNING), row("w", Wanted.DOWN, Seen.ABSENT)], (), 0),
        ([row("db", Wanted.UP, Seen.ABSENT)], (), 1),
        ([row("db", Wanted.UP, Seen.SHUT_DOWN)], (), 1),
        ([row("db", Wanted.UP, Seen.PAUSED)], (), 1),
        ([row("db", Wanted.UP, Seen.UNKNOWN)], (), 1),
        ([], (WARNING,), 0),
        ([], (FATAL,), 1),
    ],
)
def test_status_is_0_when_what_is_wanted_holds(
    rows: list[Row],
    problems: tuple[Problem, ...],
    expected: int,
) -> None:
    assert status.exit_status(rows, problems) == expected


def step(name: str, verb: Verb, reason: str, outcome: Outcome | None = None, *notes: str) -> Step:
    definition = Definition(name, None, Kind.PV, f"/etc/xen/{name}.cfg")
    return Step(name, verb, reason, Policy(), definition, outcome=outcome, notes=notes)


def test_a_plan_shows_what_acts_first_and_why() -> None:
    steps = (
        step("a", Verb.NOTHING, "runs already as domid 3", Outcome.ALREADY),
        step("b", Verb.START, 'start = "always"', None, "suspend is refused"),
    )
    assert plan.plan_text(Plan(Direction.UP, steps), Style()).splitlines() == [
        "DOMAIN  WOULD              WHY",
        'b       start              start = "always"; suspend is refused',
        "a       nothing (already)  runs already as domid 3",
        "",
        "up would act on 1 domain.",
    ]


def test_a_plan_without_steps_says_why() -> None:
    assert "no domain is running" in plan.plan_text(Plan(Direction.DOWN, ()), Style())


def ended(direction: Direction, *results: Result) -> Run:
    return Run(1, direction, "boot", AT, AT, 0, results)


GOOD = Result("web", None, 1, Outcome.CLEAN)
BAD = Result("db", None, 2, Outcome.FORCED, good=False)


@pytest.mark.parametrize(
    ("results", "how", "status"),
    [
        ((), {}, 0),
        ((GOOD,), {}, 0),
        ((GOOD, BAD), {}, 1),
        ((GOOD,), {"unnamed_definitions": 1}, 1),
        ((GOOD,), {"wrong": 78}, 78),
        ((BAD,), {"wrong": 78, "unnamed_definitions": 1}, 78),
        ((BAD,), {"wrong": 78, "signal": 15}, 143),
        ((GOOD,), {"signal": 2}, 130),
    ],
)
def test_the_exit_status_of_a_run(
    results: tuple[Result, ...], how: dict[str, int], status: int
) -> None:
    assert exit_status(results, **how) == status


class Clumsy:
    """A host whose toolstack fails for a while."""

    def __init__(self, *failures: LamplighterError) -> None:
        self.failures = list(failures)
        self.slept = 0.0
        self.toolstack = self.clock = self

    async def list(self) -> list[DomainInfo]:
        if self.failures:
            raise self.failures.pop(0)
        return []

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_a_first_look_that_fails_is_tried_again() -> None:
    host = Clumsy(CallFailed("xl died"), CallFailed("xl died"))
    assert virtual.run(prepare.list_domains(host)) == []
    assert host.slept == 6.0


@pytest.mark.parametrize(
    "failures",
    [(CallFailed("xl died"),) * 3, (CallTimedOut("xl hangs"),)],
)
def test_without_a_first_look_there_is_no_run(failures: tuple[LamplighterError, ...]) -> None:
    host = Clumsy(*failures)
    with pytest.raises(ToolstackUnreachable, match="cannot be listed: xl") as caught:
        virtual.run(prepare.list_domains(host))
    assert caught.value.exit_status == 69
    assert host.failures == []


def the_story(**instead: tuple[Outcome | None, Outcome | None]) -> list[Run]:
    """Return the two runs of the demonstration, some domains with other outcomes."""
    parts = {name: (part.up, part.down) for name, part in EXPECTED.items()} | instead
    runs = []
    for number, direction in enumerate(Direction):
        ends = {name: pair[number] for name, pair in parts.items()}
        results = [Result(name, None, 1, end) for name, end in ends.items() if end is not None]
        runs.append(ended(direction, *results))
    return runs


def test_the_demo_knows_how_each_example_has_to_end() -> None:
    assert set(EXPECTED) == set(definitions())
    ending = Comparison(the_story())
    assert ending.as_expected
    told = ending.text(Style()).splitlines()
    assert "files     started  forced   acknowledges, then hangs: its agent forces its end" in told
    assert "staging   skipped  -        is started by hand only" in told
    assert told[-2].endswith("8 of them went down cleanly, 2 were forced (files, legacy)")


def test_another_ending_of_the_demo_is_shown_and_is_not_a_success() -> None:
    ending = Comparison(the_story(web=(Outcome.STARTED, Outcome.FORCED), db=(None, None)))
    assert not ending.as_expected
    assert ending.text(Style()).splitlines()[-4:] == [
        "This is not the story that was to be told:",
        "    db: up was to end started, it ended without it",
        "    db: down was to end clean, it ended without it",
        "    web: down was to end clean, it ended forced",
    ]
