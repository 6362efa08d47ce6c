"""The end of a run: every outcome, one sentence, what to type next."""

from __future__ import annotations

from datetime import UTC, datetime

from lamplighter.cli.output.report import interrupted_text, report_text
from lamplighter.cli.output.text import Style
from lamplighter.model.run import Direction, Outcome, Result, Run

AT = datetime(2025, 3, 1, tzinfo=UTC)


def told(
    direction: Direction, *results: Result, console: str = "xl console", seconds: float = 184.2
) -> str:
    run = Run(1, direction, "boot", AT, AT, 1, results)
    return report_text(run, seconds, Style(), console=console)


def bad(name: str, outcome: Outcome, note: str = "", domid: int | None = 4) -> Result:
    return Result(name, None, domid, outcome, 3.0, note, good=False)


def test_a_good_run_is_a_table_and_a_sentence() -> None:
    text = told(
        Direction.DOWN,
        Result("web", None, 2, Outcome.CLEAN, 3.14),
        Result("db", None, 1, Outcome.SKIPPED, 0.0, 'stop = "leave"'),
        seconds=3.2,
    )
    assert text == (
        "DOMAIN  OUTCOME  TIME   NOTE\n"
        'db      skipped         stop = "leave"\n'
        "web     clean    3.1 s\n"
        "\n"
        "down: 2 domains in 3.2 s: 1 clean, 1 skipped."
    )


def test_a_bad_run_ends_with_what_to_type() -> None:
    text = told(
        Direction.DOWN,
        bad("stuck", Outcome.FORCED, "it did not acknowledge"),
        Result("web", None, 2, Outcome.CLEAN, 3.14),
        bad("gone", Outcome.UNKNOWN, "nobody saw how it ended"),
    )
    assert text.partition("\n\n")[2] == (
        "down: 3 domains in 3 min 04 s: 1 clean, 1 forced, 1 unknown. 2 need attention:\n"
        "    lamplighter status         # the state of gone now\n"
        "    lamplighter down gone      # try again\n"
        "    lamplighter explain stuck  # its settings and where they come from"
    )
    assert text.splitlines()[1:4] == [
        "web     clean    3.1 s",
        "gone    unknown  3.0 s  nobody saw how it ended",
        "stuck   forced   3.0 s  it did not acknowledge",
    ]


def test_a_failed_start_names_the_console_where_there_is_one() -> None:
    failed = bad("db", Outcome.FAILED, "it crashed while it booted")
    assert "    xl console db           # the guest's console\n" in told(Direction.UP, failed)
    assert "xl console" not in told(Direction.UP, failed, console="")
    never = bad("db", Outcome.FAILED, "no memory", domid=None)
    assert "xl console" not in told(Direction.UP, never)
    assert told(Direction.UP, failed).endswith("lamplighter up db       # try again")


def test_names_are_safe_to_paste_and_to_print() -> None:
    text = told(Direction.UP, bad("a b;\x1b[2J", Outcome.FAILED))
    assert "\x1b" not in text
    assert "lamplighter explain 'a b;\\x1b[2J'" in text


def test_many_bad_ones_are_cut_short() -> None:
    text = told(Direction.DOWN, *(bad(f"d{i:02}", Outcome.FORCED) for i in range(30)))
    assert text.count("lamplighter explain") == 8
    assert text.endswith("    ... and so on for 22 more")


def test_a_run_with_nothing_to_do_says_why() -> None:
    assert told(Direction.DOWN) == "down: no domain is running; nothing to do"
    assert told(Direction.UP) == "up: no domain is defined; nothing to do"


def test_a_record_that_was_lost_is_reported_at_the_end_of_good_runs_too() -> None:
    why = "the record of this run, which goes on, is incomplete: the disk is full"
    for results in ((), (Result("web", None, 2, Outcome.CLEAN, 3.14),)):
        run = Run(1, Direction.DOWN, "boot", AT, AT, 0, results, lost=why)
        assert report_text(run, 3.2, Style()).endswith(f"\n\n{why}")


def test_what_an_interrupted_run_leaves_is_reported_by_name_and_how_to_go_on() -> None:
    not_begun = [bad(f"web-{n:02}", Outcome.SKIPPED, "not started", domid=None) for n in range(9)]
    done = [
        Result("db", None, 1, Outcome.STARTED),
        Result("off", None, None, Outcome.SKIPPED),
        bad("broken", Outcome.FAILED, domid=None),
    ]
    run = Run(1, Direction.UP, "boot", AT, AT, 1, (*done, *not_begun))
    assert interrupted_text(run, "SIGHUP", ()) == (
        "interrupted by SIGHUP: left undone, of 12 domains: "
        "web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07 and 1 more\n"
        "  lamplighter up continues with them; lamplighter status shows the state of each"
    )
    assert "  lamplighter up 'a b' continues" in interrupted_text(run, "SIGINT", ["a b"])


def test_an_interruption_that_came_too_late_says_so() -> None:
    run = Run(1, Direction.DOWN, "boot", AT, AT, 0, (Result("db", None, 1, Outcome.CLEAN),))
    assert interrupted_text(run, "SIGINT", ()) == "interrupted by SIGINT: nothing is left undone"
