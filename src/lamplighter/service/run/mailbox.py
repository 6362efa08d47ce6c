"""A worker's mailbox: the newest listing of its domain, whether nodes changed, an interruption.

It is a ``Viewer`` of the observer. It keeps the newest of each kind, and only what is new, and is
never a queue. So a guest that rewrites its nodes two thousand times a second costs its worker one
reading, and memory stays bounded whatever happens.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine.events import Event, Interrupted, Listed, ListingFailed, NotListed, Tick

if TYPE_CHECKING:
    from uuid import UUID

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import DomainInfo, Listing

#: What is known before the first listing: equal to no domain and no error.
NOTHING_YET = ""


class Mailbox:
    """What has come for one worker since it last looked."""

    def __init__(self, domain: UUID | str, clock: Clock) -> None:
        """``domain`` is what identifies it in a listing: its UUID, or else its name."""
        self.interrupted = ""
        self._domain = domain
        self._clock = clock
        self._come = asyncio.Event()
        self._newest: DomainInfo | str | None = NOTHING_YET  # listed, not listed, or an error
        self._is_news = False
        self._believes_from = 0

    # --- for those who send ---

    def listed(self, listing: Listing) -> None:
        """Take in a listing, if it is not too old to be believed."""
        self._take(listing.number, listing.newest(self._domain))

    def listing_failed(self, number: int, error: str) -> None:
        """Take in that a listing failed; one that began too early says nothing either way."""
        self._take(number, error)

    def reset(self, believes_from: int) -> None:
        """Believe no listing with a lower number, and take in the next one in any case."""
        self._believes_from = believes_from
        self._newest, self._is_news = NOTHING_YET, False

    def node_changed(self) -> None:
        """A node of the domain may have changed."""
        self._come.set()

    def interrupt(self, why: str) -> None:
        """The run is to end now; ``interrupted`` says why, and is empty before."""
        self.interrupted = why
        self._come.set()

    # --- for the worker ---

    async def wait(self, until: float) -> list[Event]:
        """Wait until something came or the moment is reached; the last event is a ``Tick``."""
        if not self._come.is_set():
            seconds = max(0.0, until - self._clock.monotonic())
            try:
                async with self._clock.timeout(None if seconds == inf else seconds):
                    await self._come.wait()
            except TimeoutError:
                pass
        self._come.clear()
        now = self._clock.monotonic()
        events: list[Event] = []
        if self.interrupted:
            events.append(Interrupted(now, self.interrupted))
        if self._is_news:
            self._is_news = False
            match self._newest:
                case None:
                    events.append(NotListed(now))
                case str(error):
                    events.append(ListingFailed(now, error))
                case domain:
                    events.append(Listed(now, domain))
        return [*events, Tick(now)]

    def _take(self, number: int, newest: DomainInfo | str | None) -> None:
        if number >= self._believes_from and newest != self._newest:
            self._newest, self._is_news = newest, True
            self._come.set()
