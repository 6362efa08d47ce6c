"""The results of a run of the benchmarks, as JSON, and which rows fell back since another run.

Only what does not depend on the machine's speed is kept: ratios, and the processor time of our own
process. That is compared in units of ``reference``, the seconds that a fixed piece of Python took
on the machine and at the time of the run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.ratio import Ratio

#: A row that is worse by more than this part of what it was has fallen back.
TOLERANCE = 0.25


class Row(NamedTuple):
    """One row. ``at_most`` says that a smaller ratio is better; ``processor`` is in seconds."""

    ratio: float
    at_most: bool
    processor: float | None = None


class Results(NamedTuple):
    """One run: the commit that was measured, the date, ``reference`` in seconds, rows by name."""

    commit: str
    date: str
    reference: float
    rows: Mapping[str, Row]


def to_results(ratios: Iterable[Ratio], commit: str, date: str, reference: float) -> Results:
    """Return what is kept of measured rows."""
    rows = {one.name: Row(one.ratio, one.at_most, one.processor) for one in ratios}
    return Results(commit, date, reference, rows)


def format_results(results: Results) -> str:
    """Return the text; ``parse_results`` reads it back."""
    rows = {name: row._asdict() for name, row in results.rows.items()}
    return json.dumps({**results._asdict(), "rows": rows}, indent=1) + "\n"


def parse_results(text: str) -> Results:
    """Return what the text says; raise ``ValueError`` that says what is wrong with it."""
    try:
        document = json.loads(text)
        rows = {
            name: Row(
                float(row["ratio"]),
                bool(row["at_most"]),
                None if row["processor"] is None else float(row["processor"]),
            )
            for name, row in document["rows"].items()
        }
        commit, date = str(document["commit"]), str(document["date"])
        return Results(commit, date, float(document["reference"]), rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not what the benchmarks write ({error!r})") from error


def fallen_back(kept: Results, now: Results) -> list[str]:
    """Return a sentence for each row that is worse than it was, or is not measured any more."""
    worse = []
    for name, before in kept.rows.items():
        after = now.rows.get(name)
        if after is None:
            worse.append(f"{name}: not measured this time")
            continue
        if _is_worse(before.ratio, after.ratio, at_most=after.at_most):
            worse.append(f"{name}: ratio {before.ratio:.2f} became {after.ratio:.2f}")
        if before.processor is not None and after.processor is not None:
            expected = before.processor * now.reference / kept.reference
            if _is_worse(expected, after.processor, at_most=True):
                worse.append(
                    f"{name}: {expected:.2f} s of processor time became {after.processor:.2f} s"
                )
    return worse


def _is_worse(before: float, after: float, *, at_most: bool) -> bool:
    most = 1 + TOLERANCE
    return after > before * most if at_most else after * most < before
