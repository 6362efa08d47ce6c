"""A ratio against a peer, measured in rounds that take turns.

Times differ from machine to machine and from minute to minute, ratios hardly do. So each round
measures ours and the peer's one right after the other, and the median of the rounds' ratios counts.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Skipped(Exception):
    """A benchmark cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Ratio:
    """One line of the output. ``aim`` is the least ratio, or the most where ``at_most`` is set.

    ``processor`` is the processor time of ours in seconds, where other load on the machine decides
    how long ours takes.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str
    aim: float
    at_most: bool = False
    processor: float | None = None

    @property
    def reached(self) -> bool:
        """The aim is reached."""
        return self.ratio <= self.aim if self.at_most else self.ratio >= self.aim

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "ok" if self.reached else "short"
        spent = f"  processor {self.processor:.2f} s" if self.processor is not None else ""
        return (
            f"{self.name:<34} ours {figure(self.ours):>8} peer {figure(self.peer):>8} "
            f"{self.unit:<8} ratio {self.ratio:6.2f}  aim {sign} {self.aim:g}  {verdict}{spent}"
        )


def figure(number: float) -> str:
    """Return a number with three digits that mean something."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def in_turns(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int
) -> tuple[float, float, float]:
    """Measure both in turns; return the medians of ours, of the peer's, and of the ratios."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return (
        median(mine for mine, _ in pairs),
        median(theirs for _, theirs in pairs),
        median(mine / theirs for mine, theirs in pairs),
    )


def spent_by_children() -> float:
    """Return the processor time of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
