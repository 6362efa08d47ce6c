"""What each part of a run took, as the table that is printed at its end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Parts:
    """Parts of a run and their seconds, in the order in which they began."""

    def __init__(self, before: Iterable[tuple[str, float]] = ()) -> None:
        """``before`` is what others measured before this run began."""
        self._took = dict(before)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Note what a block takes, however it ends; blocks of one name are one part."""
        began = time.monotonic()
        before = self._took.setdefault(part, 0.0)
        try:
            yield
        finally:
            self._took[part] = before + time.monotonic() - began

    def __str__(self) -> str:
        total = sum(self._took.values())
        rows = [*self._took.items(), (f"all ({total / 60:.1f} minutes)", total)]
        width = max(len(part) for part, _ in rows)
        return "\n".join(f"{part:<{width}} {seconds:7.0f} s" for part, seconds in rows)
