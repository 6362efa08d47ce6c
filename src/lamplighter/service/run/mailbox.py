"""A worker's mailbox: the newest listing of its domain, whether nodes changed, an interruption.

It keeps the newest of each kind and is never a queue. So a guest that rewrites its nodes two
thousand times a second costs its worker one reading, and memory stays bounded whatever happens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lamplighter.engine.events import Event, Interrupted, Listed, ListingFailed, NotListed, Tick

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import DomainInfo
    from lamplighter.service.observer import Listing

#: What a subscriber has been told before the first picture: equal to no sighting or error.
NOTHING_YET = ""


class Inbox:
    """What has come for one worker since it last looked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._come = asyncio.Event()
        self._listed: DomainInfo | str | None = None
        self._has_listed = False
        self._interrupted = ""

    # --- for those who tell ---

    def listed(self, sighting: DomainInfo | None) -> None:
        """A listing worked; None: it does not hold the domain."""
        self._listed, self._has_listed = sighting, True
        self._come.set()

    def blind(self, error: str) -> None:
        """A listing failed."""
        self._listed, self._has_listed = error, True
        self._come.set()

    def stir(self) -> None:
        """A node of the domain may have changed."""
        self._come.set()

    def interrupt(self, why: str) -> None:
        """The run is to end now."""
        self._interrupted = why
        self._come.set()

    # --- for the worker ---

    @property
    def interrupted(self) -> str:
        """Why the run is to end now; empty while it is not."""
        return self._interrupted

    def drop_listing(self) -> None:
        """Forget a listing that the worker's own action has made old."""
        self._has_listed = False

    async def wait(self, until: float) -> list[Event]:
        """Wait until something came or the moment is reached; the events, a ``Tick`` at last."""
        if not self._come.is_set():
            try:
                async with self._clock.timeout(max(0.0, until - self._clock.monotonic())):
                    await self._come.wait()
            except TimeoutError:
                pass
        self._come.clear()
        return self._events()

    def _events(self) -> list[Event]:
        now = self._clock.monotonic()
        events: list[Event] = []
        if self._interrupted:
            events.append(Interrupted(now, self._interrupted))
        if self._has_listed:
            self._has_listed = False
            match self._listed:
                case None:
                    events.append(NotListed(now))
                case str(error):
                    events.append(ListingFailed(now, error))
                case sighting:
                    events.append(Listed(now, sighting))
        events.append(Tick(now))
        return events


class Subscriber:
    """One worker's window on the pictures of one domain, known by its UUID or else its name.

    ``tell`` is called with a sighting, or None where a picture has none; ``tell_failure`` with an
    error's text where there is no picture; both only with something new, and from the event loop.
    """

    def __init__(
        self,
        domain: UUID | str,
        tell: Callable[[DomainInfo | None], None],
        tell_failure: Callable[[str], None],
    ) -> None:
        self._domain = domain
        self._tell = tell
        self._tell_failure = tell_failure
        self._told: DomainInfo | str | None = NOTHING_YET
        self._believes_from = 0

    def listed(self, listing: Listing) -> None:
        """Take in a picture, if it is not too old to be believed."""
        if listing.number < self._believes_from:
            return
        found = listing.find(self._domain)
        if self._told != found:
            self._told = found
            self._tell(found)

    def listing_failed(self, number: int, error: str) -> None:
        """Take in that a listing failed; one that began too early tells nothing either way."""
        if number >= self._believes_from and self._told != error:
            self._told = error
            self._tell_failure(error)

    def reset(self, believes_from: int) -> None:
        """Believe no listing older than this number, and be told of the next one in any case."""
        self._believes_from = believes_from
        self._told = NOTHING_YET
