"""Time is a port.

Nothing outside ``host/clock`` reads a clock or sleeps; everything that needs time is given a
``Clock``. Seconds are *host seconds*: on an embedded host that runs faster than real time they
pass faster, so that a ladder of 180 s is climbed in nine real seconds at speed 20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime


class Clock(Protocol):
    """What may be asked of time."""

    def monotonic(self) -> float:
        """Host seconds since an arbitrary moment; never goes back."""

    def wall(self) -> datetime:
        """The date and time of day, with its zone."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many host seconds; at once when they are zero or fewer."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Cancel the block after this many host seconds with ``TimeoutError``; None: never."""
