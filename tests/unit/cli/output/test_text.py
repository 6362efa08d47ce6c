"""Columns, durations and names that cannot harm a terminal."""

from __future__ import annotations

import io
import os
import pty
from datetime import UTC, datetime

import pytest

from lamplighter.cli.output.text import (
    Style,
    counted,
    duration,
    moment,
    printable,
    style_of,
    table,
    wrap,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0.0 s"),
        (0.04, "0.0 s"),
        (12.34, "12.3 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (185.4, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_moments() -> None:
    assert (counted(1, "domain"), counted(0, "domain")) == ("1 domain", "0 domains")
    at = datetime(2025, 3, 1, 12, 0, 5, tzinfo=UTC)
    assert moment(at) == f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
    assert moment(None) == "-"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1 ü", "web-1 ü"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\u202eevil", r"\u202eevil"),
        ("\udcff", r"\udcff"),
    ],
)
def test_control_characters_are_shown_not_sent(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_table_lines_its_columns_up() -> None:
    text = table(("DOMAIN", "X", "NOTE"), [("db", "", "good"), ("web-server", "1", "")], Style())
    assert text.splitlines() == [
        "DOMAIN      X  NOTE",
        "db             good",
        "web-server  1",
    ]


def test_the_last_column_wraps_to_the_width() -> None:
    rows = [("db", "one two three four five six seven")]
    assert table(("DOMAIN", "WHY"), rows, Style(width=34)).splitlines() == [
        "DOMAIN  WHY",
        "db      one two three four five",
        "        six seven",
    ]


def test_nothing_is_wrapped_where_no_room_is_left() -> None:
    rows = [("a-name-of-twenty-five-chars", "words that stay on one line")]
    lines = table(("DOMAIN", "WHY"), rows, Style(width=40)).splitlines()
    assert lines[1] == "a-name-of-twenty-five-chars  words that stay on one line"


def test_colours_do_not_disturb_the_columns() -> None:
    text = table(("A", "B", "C"), [("x", "y", "z")], Style(colours=True), colours=[{1: "bad"}])
    assert text.splitlines()[1] == "x  \x1b[31my\x1b[0m  z"


def test_what_is_no_terminal_has_no_style() -> None:
    assert style_of(io.StringIO(), {"TERM": "xterm"}) == Style()
    closed = io.StringIO()
    closed.close()
    assert style_of(closed, {}) == Style()


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_a_terminal_is_coloured_unless_told_not_to(environ: dict[str, str], colours: bool) -> None:
    main, secondary = pty.openpty()
    with os.fdopen(secondary, "w") as stream:
        assert style_of(stream, environ) == Style(colours=colours, width=80)
    os.close(main)


def test_a_path_breaks_only_at_its_slashes() -> None:
    told = 'stop = "leave" (/tmp/a-host-of-mine/domains/web-server.cfg:6:1)'
    assert wrap(told, 36) == ['stop = "leave" (/tmp/a-host-of-mine/', "domains/web-server.cfg:6:1)"]
    assert "".join(wrap("/x" * 40, 24)) == "/x" * 40


def test_one_very_long_name_does_not_push_all_others_off_the_terminal() -> None:
    rows = [("x" * 100, "up", "a"), ("db", "down", "b")]
    wide, narrow = (
        table(("NAME", "WAY", "NOTE"), rows, style) for style in (Style(), Style(width=60))
    )
    assert narrow.splitlines() == ["NAME  WAY   NOTE", "x" * 100 + "  up    a", "db    down  b"]
    assert wide.splitlines()[2].startswith("db" + " " * 98)
