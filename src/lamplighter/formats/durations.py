"""Parses and formats durations, and formats sizes.

Durations are seconds. They are written as systemd writes them: ``180``, ``180s``, ``3min``,
``1h 30min``; a number without a unit is seconds. ``parse_duration`` reads what ``format_duration``
writes, unless that is negative. Sizes are bytes, with binary units: ``512MiB``, ``1536B``.
"""

from __future__ import annotations

import re
from math import isfinite

_SECONDS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}

# Compiled when the first quantity is read: most commands read none.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_PLAIN = rf"-?{_NUMBER}"
_PART = rf"({_NUMBER})\s*([a-z]+)\s*"

DURATION_FORMS = 'a duration such as "180s", "3min" or "1h 30min", or a number of seconds'


def parse_duration(text: str) -> float:
    """Return the seconds that a text gives; raise ``ValueError`` saying what was expected.

    A negative plain number is accepted: whether it makes sense is for the caller to decide.
    """
    given = text.strip()
    if re.fullmatch(_PLAIN, given):
        return float(given)
    total = 0.0
    at = 0
    part = re.compile(_PART)
    while match := part.match(given, at):
        number, unit = match.groups()
        if unit not in _SECONDS:
            raise ValueError(f"there is no unit {unit!r}: expected one of ms, s, min, h, d")
        total += float(number) * _SECONDS[unit]
        at = match.end()
    if at == 0 or at < len(given):
        raise ValueError(f"expected {DURATION_FORMS}")
    return round(total, 6)


def format_duration(seconds: float) -> str:
    """Write seconds as a person would: ``90.0`` is ``1min 30s``, ``0.25`` is ``250ms``."""
    if not isfinite(seconds):
        raise ValueError("a duration is finite")
    milliseconds = round(abs(seconds) * 1000)
    parts: list[str] = []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        count, milliseconds = divmod(milliseconds, length)
        if count:
            parts.append(f"{count}{unit}")
    if milliseconds >= 1000:
        parts.append(f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    elif milliseconds:
        parts.append(f"{milliseconds}ms")
    return ("-" if seconds < 0 and parts else "") + (" ".join(parts) or "0s")


def format_size(size: int) -> str:
    """Write bytes with the largest binary unit that loses nothing: ``1048576`` is ``1MiB``."""
    for unit, length in _BYTES.items():
        if size and size % length == 0:
            return f"{size // length}{unit}"
    return f"{size}B"
