"""Deadlines: every wait in the lab ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Deadline:
    """A moment after which nothing is waited for any more."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; never negative."""
        return max(0.0, self._until - time.monotonic())

    def within(self, seconds: float) -> float:
        """Return this many seconds or what is left; ``LabError`` when nothing is."""
        if not self.left:
            raise LabError("the scenario's time is up")
        return min(seconds, self.left)


def wait_for(
    what: str,
    look: Callable[[], T | None],
    *,
    seconds: float,
    pause: float = 0.3,
) -> T:
    """Call ``look`` until what it returns is true, and return that; ``LabError`` names ``what``."""
    deadline = Deadline(seconds)
    while not (found := look()):
        if not deadline.left:
            raise LabError(f"waited {seconds:.0f} s for {what}")
        time.sleep(pause)
    return found
