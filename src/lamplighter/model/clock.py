"""The clock interface that all host-side code gets its time from.

On the host, only ``host/clock`` reads a clock or sleeps; everything that needs time is given a
``Clock``. Seconds are *host seconds*: on an embedded host that runs faster than real time they
pass faster, so that at speed 20 a stop timeout of 180 s takes nine real seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime


class Clock(Protocol):
    """Monotonic time, wall-clock time, sleeping and timeouts."""

    def monotonic(self) -> float:
        """Host seconds since an arbitrary moment; never decreases."""

    def wall(self) -> datetime:
        """The date and time of day, with a time zone."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many host seconds; at once when they are zero or fewer."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Cancel the block with ``TimeoutError`` after this many host seconds; None: never."""
