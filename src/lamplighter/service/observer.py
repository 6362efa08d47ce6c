"""The observer: lists the toolstack's domains when XenStore reports that something happened.

``@introduceDomain`` and ``@releaseDomain`` say *list again*, not what happened; they may fire for
any domain, or late, or never. So a hint only marks the last listing as old, one listing is made at
a time, and hints that fire meanwhile cause one more. The number of listings is bounded by time and
not by events: each is followed by a pause of four times its own duration, at most
``LISTING_INTERVAL`` (``engine/timing``). So listing takes a fifth of the time, and more only where
one takes longer than a second, however many domains come and go. Without a hint the domains are
listed every ``LISTING_INTERVAL`` seconds, or as its owner wants it; but always that often
while a listing has failed or a watch could not be set.

Each viewer may refuse listings that are too old: a worker that has just acted does not believe a
listing that began before its action ended.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from lamplighter.engine import timing
from lamplighter.errors import CallFailed, LamplighterError, Unreachable, XenStoreError
from lamplighter.model.domain import Listing

if TYPE_CHECKING:
    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch
    from lamplighter.model.clock import Clock
    from lamplighter.toolstacks.base import Toolstack

logger = logging.getLogger(__name__)

#: The watches that fire when a domain has started, shut down or gone.
HINTS = ("@introduceDomain", "@releaseDomain")


class Viewer(Protocol):
    """Receives the listings. Every method returns at once and raises nothing."""

    def listed(self, listing: Listing) -> None:
        """There is a new listing."""

    def listing_failed(self, number: int, error: str) -> None:
        """The listing with this number failed."""

    def reset(self, believes_from: int) -> None:
        """Listings with a lower number than this are too old to be believed."""


class Observer:
    """Makes listings and passes them to viewers. Run ``watch()`` as a task beside them."""

    def __init__(
        self,
        toolstack: Toolstack,
        xenstore: XenStore,
        clock: Clock,
        *,
        interval: float | None = timing.LISTING_INTERVAL,
    ) -> None:
        """``interval``: list after so many host seconds without a hint; None: wait for one."""
        self._interval = interval
        self._toolstack = toolstack
        self._xenstore = xenstore
        self._clock = clock
        self._viewers: dict[Viewer, None] = {}  # in order, so that a simulation replays
        self._old = asyncio.Event()
        self._number = 0
        self._hints: list[Watch] = []

    def subscribe(self, viewer: Viewer) -> None:
        """Pass listings to this viewer, from the next one on."""
        viewer.reset(self._number + 1)
        self._viewers[viewer] = None
        self.relist()

    def unsubscribe(self, viewer: Viewer) -> None:
        """Pass no more listings to this viewer."""
        self._viewers.pop(viewer, None)

    def relist(self) -> None:
        """Mark the last listing as old."""
        self._old.set()

    def discard_older(self, viewer: Viewer) -> None:
        """Pass this viewer no listing that has begun before this moment."""
        viewer.reset(self._number + 1)

    async def watch(self) -> None:
        """Make listings for as long as the task lives."""
        self._xenstore.on_connection(self._connection)
        sound = False  # the last listing succeeded
        while True:
            try:
                async with self._clock.timeout(timing.XENSTORE_TIME):
                    for path in HINTS[len(self._hints) :]:
                        watch = await self._xenstore.watch(path, lambda _: self.relist())
                        self._hints.append(watch)
            except (TimeoutError, Unreachable, XenStoreError):
                pass  # the domains are listed without hints; the next turn tries again
            hinted = sound and len(self._hints) == len(HINTS)
            try:
                async with self._clock.timeout(
                    self._interval if hinted else timing.LISTING_INTERVAL
                ):
                    await self._old.wait()
            except TimeoutError:
                pass
            self._old.clear()
            self._number += 1
            number, began = self._number, self._clock.monotonic()
            try:
                domains = await self._toolstack.list()
            except (CallFailed, Unreachable) as error:
                sound = False
                self._log(number, f"failed ({error.message})", began)
                for viewer in tuple(self._viewers):
                    viewer.listing_failed(number, error.message)
            else:
                sound = True
                self._log(number, f"found {len(domains)}", began)
                listing = Listing(domains, number)
                for viewer in tuple(self._viewers):
                    viewer.listed(listing)
            pause = timing.LISTING_PAUSES * (self._clock.monotonic() - began)
            await self._clock.sleep(min(pause, timing.LISTING_INTERVAL))

    async def close(self) -> None:
        """Remove the watches."""
        try:
            async with self._clock.timeout(timing.XENSTORE_TIME):
                for hint in self._hints:
                    await self._xenstore.unwatch(hint)
        except (TimeoutError, LamplighterError):
            return  # no connection, so no watch either; or one that ends with this process

    def _log(self, number: int, what: str, began: float) -> None:
        seconds = self._clock.monotonic() - began
        logger.debug("listing %d of the domains %s after %.3f s", number, what, seconds)

    def _connection(self, connected: bool) -> None:
        if connected:
            self.relist()
