"""Durations and sizes, both ways."""

from __future__ import annotations

import math

import pytest

from lamplighter.formats.durations import (
    format_duration,
    format_size,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("180", 180.0),
        ("0", 0.0),
        ("-3", -3.0),
        ("0.25", 0.25),
        ("180s", 180.0),
        ("180 s", 180.0),
        (" 3min ", 180.0),
        ("3m", 180.0),
        ("1h30min", 5400.0),
        ("1h 30min 5s", 5405.0),
        ("1.5hours", 5400.0),
        ("250ms", 0.25),
        ("2days", 172800.0),
        ("1 minute 1 second", 61.0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a duration such as"),
        ("soon", "expected a duration such as"),
        ("3x", "no unit 'x'"),
        ("3M", "expected a duration"),
        ("3min soon", "expected a duration"),
        ("-3min", "expected a duration"),
        ("1e3", "no unit 'e'"),
        ("inf", "expected a duration"),
        ("3 4", "expected a duration"),
        ("٣s", "expected a duration"),
        ("9" * 400, "expected a duration"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (60.0, "1min"),
        (90.0, "1min 30s"),
        (5405.0, "1h 30min 5s"),
        (86400.0, "1d"),
        (-90.0, "-1min 30s"),
        (0.0001, "0s"),
        (59.9996, "1min"),
    ],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_an_endless_duration_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        format_duration(seconds)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1, "1B"), (1 << 20, "1MiB"), (1536, "1536B"), (3 << 40, "3TiB")],
)
def test_sizes_are_written(size: int, text: str) -> None:
    assert format_size(size) == text
