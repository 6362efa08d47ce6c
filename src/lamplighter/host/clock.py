"""The host's clock: the only module on the host side that reads the time or sleeps.

It uses the time of the running event loop, so a test with a virtual-time loop gives virtual time
to everything. ``speed`` makes host seconds pass faster than real ones, for an embedded host; the
date stays the real one.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class LoopClock:
    """A ``Clock`` over the running event loop; ``speed`` host seconds pass in one real second."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def monotonic(self) -> float:
        """Host seconds since an arbitrary moment; never goes back."""
        return asyncio.get_running_loop().time() * self.speed

    def wall(self) -> datetime:
        """The date and time of day in the machine's zone."""
        return datetime.now(UTC).astimezone()

    async def sleep(self, seconds: float) -> None:
        """Return after this many host seconds; at once when they are zero or fewer."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Cancel the block after this many host seconds with ``TimeoutError``; None: never."""
        return asyncio.timeout(None if seconds is None else seconds / self.speed)
