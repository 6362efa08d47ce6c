"""The observer: one listing at a time, only what is new, nothing that is too old."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest

from lamplighter.engine import timing
from lamplighter.engine.events import Listed, ListingFailed, NotListed
from lamplighter.errors import CallFailed
from lamplighter.host.clock import LoopClock
from lamplighter.model.domain import DomainInfo
from lamplighter.service.observer import Observer
from lamplighter.service.run.mailbox import Mailbox
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.toolstacks.base import Toolstack

WEB = DomainInfo(1, UUID(int=1), "web")


class SlowToolstack:
    """Answers after a while with what is there when it was asked."""

    def __init__(self) -> None:
        self.takes = 1.0
        self.there: Sequence[DomainInfo] | str = [WEB]
        self.listings = 0

    async def list(self) -> Sequence[DomainInfo]:
        self.listings += 1
        there = self.there
        await LoopClock().sleep(self.takes)
        if isinstance(there, str):
            raise CallFailed(there)
        return there


class QuietStore:
    """Keeps the watches' callbacks, so that a test can fire them."""

    def __init__(self) -> None:
        self.fired: list[Callable[[str], None]] = []

    def on_connection(self, changed: Callable[[bool], None]) -> None:
        """Never lost."""

    async def watch(self, path: str, fired: Callable[[str], None]) -> object:
        self.fired.append(fired)
        fired(path)
        return path

    async def unwatch(self, watch: object) -> None:
        """Nothing to take back."""


class Told:
    """What came into one mailbox, with the time."""

    def __init__(self, domain: UUID | str) -> None:
        self.heard: list[tuple[float, object]] = []
        self.mailbox = Mailbox(domain, LoopClock())
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        while True:
            for event in await self.mailbox.wait(inf):
                match event:
                    case Listed(now, domain):
                        self.heard.append((now, domain))
                    case ListingFailed(now, error):
                        self.heard.append((now, error))
                    case NotListed(now):
                        self.heard.append((now, None))


async def watching(
    story: Callable[[Observer, SlowToolstack, QuietStore], object],
) -> None:
    toolstack, store = SlowToolstack(), QuietStore()
    observer = Observer(cast("Toolstack", toolstack), cast("XenStore", store), LoopClock())
    task = asyncio.create_task(observer.watch())
    await cast("asyncio.Future[None]", story(observer, toolstack, store))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_without_hints_a_listing_is_made_only_every_five_seconds() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, _: QuietStore) -> None:
        told = Told(WEB.uuid)
        observer.subscribe(told.mailbox)
        await LoopClock().sleep(3 * (timing.LISTING_INTERVAL + 3.0))
        assert toolstack.listings == 3
        assert told.heard == [(1.0, WEB)], "the same again is not news"

    run(watching(story))


def test_hints_that_come_during_a_listing_cause_exactly_one_more() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, store: QuietStore) -> None:
        await LoopClock().sleep(0.5)
        for _ in range(100):
            store.fired[0]("@releaseDomain")
        await LoopClock().sleep(5.0)
        assert toolstack.listings == 2

    run(watching(story))


@pytest.mark.parametrize(("takes", "listings"), [(0.1, 120), (1.0, 12), (4.0, 7)])
def test_listings_are_bounded_by_time_however_much_happens(takes: float, listings: int) -> None:
    """After each comes a pause of four times its length, but no more than ``LISTING_INTERVAL``."""

    async def story(observer: Observer, toolstack: SlowToolstack, store: QuietStore) -> None:
        toolstack.takes = takes
        await LoopClock().sleep(0.5)  # the first one has begun
        begun, toolstack.listings = LoopClock().monotonic(), 0
        while LoopClock().monotonic() < begun + 60:
            store.fired[0]("@introduceDomain")
            await LoopClock().sleep(0.05)
        assert listings - 2 <= toolstack.listings <= listings + 1

    run(watching(story))


def test_a_failed_listing_is_not_reported_where_it_is_too_old() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, _: QuietStore) -> None:
        told = Told("web")
        toolstack.there = "xl hangs"
        observer.subscribe(told.mailbox)
        await LoopClock().sleep(0.5)
        toolstack.there = [WEB]
        observer.discard_older(told.mailbox)
        observer.relist()
        await LoopClock().sleep(6.0)
        assert told.heard == [(6.0, WEB)]

    run(watching(story))


def test_a_listing_that_began_before_an_action_ended_is_not_believed() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, _: QuietStore) -> None:
        told = Told("web")
        toolstack.there = []
        observer.subscribe(told.mailbox)
        await LoopClock().sleep(0.5)
        toolstack.there = [WEB]
        observer.discard_older(told.mailbox)
        observer.relist()
        await LoopClock().sleep(6.0)
        assert told.heard == [(6.0, WEB)], "after a pause of four seconds"

    run(watching(story))


def test_a_failed_listing_is_reported_as_a_failure_and_never_as_absence() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, _: QuietStore) -> None:
        told = Told(WEB.uuid)
        toolstack.there = "xl hangs"
        observer.subscribe(told.mailbox)
        await LoopClock().sleep(timing.LISTING_INTERVAL + 4.5)
        toolstack.there = []
        await LoopClock().sleep(timing.LISTING_INTERVAL + 4.5)
        assert [word for _, word in told.heard] == ["xl hangs", None]

    run(watching(story))


def test_the_newest_incarnation_is_reported_when_a_dying_one_is_listed_beside_it() -> None:
    async def story(observer: Observer, toolstack: SlowToolstack, _: QuietStore) -> None:
        told = Told(WEB.uuid)
        dying = DomainInfo(9, WEB.uuid, "", dying=True)
        toolstack.there = [WEB, dying]
        observer.subscribe(told.mailbox)
        await LoopClock().sleep(1.5)
        assert told.heard == [(1.0, WEB)]

    run(watching(story))


def test_without_an_interval_it_lists_only_when_asked_or_after_a_failure() -> None:
    async def story() -> None:
        toolstack, store = SlowToolstack(), QuietStore()
        observer = Observer(
            cast("Toolstack", toolstack), cast("XenStore", store), LoopClock(), interval=None
        )
        task = asyncio.create_task(observer.watch())
        await LoopClock().sleep(1000)
        listings = toolstack.listings
        assert listings <= 2
        toolstack.there = "no answer"
        store.fired[0]("@releaseDomain")
        await LoopClock().sleep(10 * timing.LISTING_INTERVAL)
        assert toolstack.listings >= listings + 5
        toolstack.there = [WEB]
        await LoopClock().sleep(2 * timing.LISTING_INTERVAL)
        listings = toolstack.listings
        await LoopClock().sleep(1000)
        assert toolstack.listings == listings
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())
