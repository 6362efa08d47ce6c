"""Plain text for terminals and logs: columns, durations, colours, and escaped names.

Printed text may come from a guest or from another tool's files, so control characters, which a
terminal would obey, are shown as escapes.
"""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple, TextIO

from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

#: Between two columns.
GAP = "  "

#: A last column that is narrower than this is not wrapped, because it would be unreadable.
NARROWEST = 24

RESET = "\x1b[0m"
COLOURS = {
    "good": "\x1b[32m",
    "bad": "\x1b[31m",
    "busy": "\x1b[33m",
    "quiet": "\x1b[2m",
    "strong": "\x1b[1m",
}


class Style(NamedTuple):
    """How text is written to a stream: with colours or without, wrapped to a width or not."""

    colours: bool = False
    width: int | None = None

    def paint(self, text: str, colour: str) -> str:
        """Colour a text if colours are on; ``colour`` is a key of ``COLOURS`` or empty."""
        return f"{COLOURS[colour]}{text}{RESET}" if self.colours and colour else text


def style_of(stream: TextIO, environ: Mapping[str, str]) -> Style:
    """Return the style of a stream: a terminal has colours unless NO_COLOR is set."""
    if not is_terminal(stream):
        return Style()
    dumb = bool(environ.get("NO_COLOR")) or environ.get("TERM", "dumb") == "dumb"
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        columns = 0
    return Style(colours=not dumb, width=columns or 80)


def is_terminal(stream: TextIO) -> bool:
    """Return whether this stream is a terminal; a closed one is not."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def printable(text: str) -> str:
    """Replace every character that is not printable by an escape."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def duration(seconds: float) -> str:
    """Format a duration for a person: ``0.4 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 05 min``."""
    if seconds < 99.95:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(at: datetime | None) -> str:
    """Format a date and time of day in the machine's zone; ``-`` for none."""
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: ``1 domain``, ``3 domains``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def outcome_colour(outcome: Outcome, *, good: bool) -> str:
    """Return the colour of an outcome, a key of ``COLOURS``."""
    if not good:
        return "bad"
    return "quiet" if outcome in (Outcome.SKIPPED, Outcome.ALREADY, Outcome.HELD) else "good"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    style: Style,
    *,
    colours: Sequence[Mapping[int, str]] = (),
) -> str:
    """Lay out rows under headers; the last column is wrapped to what is left of the width.

    ``colours`` has for each row the colours of its columns, by their indexes.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    # On a terminal, a cell wider than half of it does not widen its column for all other rows.
    widest = style.width // 2 if style.width else None
    widths = [
        max([len(header), *(n for row in cells if (n := len(row[column])) <= (widest or n))])
        for column, header in enumerate(headers[:-1])
    ]
    indent = sum(widths) + len(GAP) * len(widths)
    room = style.width - indent if style.width else 0
    lines = [style.paint(_line(headers, widths, style, {}), "strong")]
    for number, row in enumerate(cells):
        painted = colours[number] if number < len(colours) else {}
        first, *others = wrap(row[-1], room)
        lines.append(_line([*row[:-1], first], widths, style, painted))
        lines.extend(" " * indent + other for other in others)
    return "\n".join(lines)


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines at spaces and after slashes, so that the names in a path stay whole."""

    wordsep_simple_re = re.compile(r"([\t\n ]+)|(?<=/)")


def wrap(text: str, room: int) -> list[str]:
    """Return the lines of a text in a column of this width; a column too narrow wraps nothing."""
    if room < NARROWEST or not text:
        return [text]
    return _Wrapper(room, break_on_hyphens=False).wrap(text)


def _line(
    cells: Sequence[str],
    widths: Sequence[int],
    style: Style,
    painted: Mapping[int, str],
) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    padded.append(cells[-1])
    while len(padded) > 1 and not padded[-1].strip():
        padded.pop()
    padded[-1] = padded[-1].rstrip()
    return GAP.join(
        style.paint(cell, painted[column]) if column in painted else cell
        for column, cell in enumerate(padded)
    )
