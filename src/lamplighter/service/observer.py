"""The observer: listings of the toolstack, made when XenStore says that something happened.

``@introduceDomain`` and ``@releaseDomain`` say *list again*, not what happened; they may come for
any domain, or late, or never. So a hint only marks the last listing as old, one listing is made at
a time, and hints that come meanwhile cause one more. The number of listings is bounded by time and
not by events: after each comes a pause of four times the time that it took, at most ``SAFETY``, so
listing takes a fifth of the time, and more only where one takes longer than a second, however many
domains come and go. Without a hint the domains are listed every ``SAFETY`` seconds, or as the
observer's owner wants it; but always that soon where a listing has failed or a watch could not be
set.

Each viewer may refuse listings that are too old: a worker that has just acted does not believe a
listing that began before its action ended.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from lamplighter.engine import timing
from lamplighter.errors import CallFailed, LamplighterError, Unreachable, XenStoreError
from lamplighter.model.domain import Listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch
    from lamplighter.model.clock import Clock
    from lamplighter.toolstacks.base import Toolstack

#: Host seconds after which the picture is made anew although nobody said that it changed.
SAFETY = 5.0

#: After a listing comes a pause of so many times its own length, at most ``SAFETY``.
PAUSES = 4.0

#: The watches that say that a domain came, shut down or went.
HINTS = ("@introduceDomain", "@releaseDomain")


class Viewer(Protocol):
    """Who is given the listings. Every method returns at once and raises nothing."""

    def listed(self, listing: Listing) -> None:
        """There is a new listing."""

    def listing_failed(self, number: int, error: str) -> None:
        """The listing with this number failed."""

    def reset(self, believes_from: int) -> None:
        """Listings with a lower number than this are too old to be believed."""


class Observer:
    """Makes listings and shows them. Run ``watch()`` as a task beside those who look."""

    def __init__(
        self,
        toolstack: Toolstack,
        xenstore: XenStore,
        clock: Clock,
        *,
        safety: float | None = SAFETY,
    ) -> None:
        """After ``safety`` host seconds without a hint a listing is made all the same."""
        self._safety = safety
        self._sound = False
        self._toolstack = toolstack
        self._xenstore = xenstore
        self._clock = clock
        self._viewers: dict[Viewer, None] = {}  # in order, so that a simulation replays
        self._old = asyncio.Event()
        self._number = 0
        self._hints: list[Watch] = []

    def subscribe(self, viewer: Viewer) -> None:
        """Show this viewer the pictures from the next listing on."""
        viewer.reset(self._number + 1)
        self._viewers[viewer] = None
        self.relist()

    def unsubscribe(self, viewer: Viewer) -> None:
        """Show this viewer no more."""
        self._viewers.pop(viewer, None)

    def relist(self) -> None:
        """Mark the picture as old."""
        self._old.set()

    def disbelieve(self, viewer: Viewer) -> None:
        """Show this viewer nothing from listings that have begun before this moment."""
        viewer.reset(self._number + 1)

    async def watch(self) -> None:
        """Make listings for as long as the task lives."""
        self._xenstore.on_connection(self._connection)
        while True:
            await self._register()
            await self._wait_for_a_reason()
            self._old.clear()
            began = self._clock.monotonic()
            await self._list()
            await self._clock.sleep(min(SAFETY, PAUSES * (self._clock.monotonic() - began)))

    async def close(self) -> None:
        """Take back the watches."""
        try:
            async with self._clock.timeout(timing.XENSTORE_TIME):
                for hint in self._hints:
                    await self._xenstore.unwatch(hint)
        except (TimeoutError, LamplighterError):
            return  # no connection, so no watch either; or one that ends with this process

    async def _register(self) -> None:
        """Set the watches that are not set yet."""
        try:
            async with self._clock.timeout(timing.XENSTORE_TIME):
                for path in HINTS[len(self._hints) :]:
                    watch = await self._xenstore.watch(path, lambda _: self.relist())
                    self._hints.append(watch)
        except (TimeoutError, Unreachable, XenStoreError):
            pass  # the safety listings go on without hints, and each time they are tried again

    def _connection(self, connected: bool) -> None:
        if connected:
            self.relist()

    async def _wait_for_a_reason(self) -> None:
        sound = self._sound and len(self._hints) == len(HINTS)
        try:
            async with self._clock.timeout(self._safety if sound else SAFETY):
                await self._old.wait()
        except TimeoutError:
            pass

    async def _list(self) -> None:
        self._number += 1
        number = self._number
        self._sound = False
        try:
            domains = await self._toolstack.list()
        except (CallFailed, Unreachable) as error:
            told = error.message
            self._each(lambda viewer: viewer.listing_failed(number, told))
            return
        self._sound = True
        listing = Listing(domains, number)
        self._each(lambda viewer: viewer.listed(listing))

    def _each(self, visit: Callable[[Viewer], None]) -> None:
        for viewer in tuple(self._viewers):
            visit(viewer)
