"""The XenStore client's watches: when they fire, and when they never do again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lamplighter.xenstore.wire import Op
from tests.store_client import CLOCK, named, on_a_store

if TYPE_CHECKING:
    from lamplighter.host.xenstore.client import XenStore
    from tests.small_store import SmallStore


def test_a_watch_fires_at_once_and_for_what_is_below() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        events: list[str] = []
        watch = await client.watch("/a", events.append)
        await CLOCK.sleep(1)
        assert events == ["/a"]
        store.set("/a/b/c", b"")
        store.set("/other", b"")
        await CLOCK.sleep(1)
        assert events == ["/a", "/a/b/c"]
        await client.unwatch(watch)
        store.set("/a", b"")
        await CLOCK.sleep(1)
        assert events == ["/a", "/a/b/c"]
        assert store.connections[0].watches == []

    on_a_store(body)


def test_a_watch_taken_back_fires_no_more_at_once() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        events: list[str] = []
        watch = await client.watch("@releaseDomain", events.append)
        await CLOCK.sleep(1)
        store.connections[0].hold()
        store.set("@releaseDomain", b"")
        unwatching = asyncio.create_task(client.unwatch(watch))
        await CLOCK.sleep(1)
        store.connections[0].release()
        await unwatching
        await CLOCK.sleep(1)
        assert events == ["@releaseDomain"]

    on_a_store(body)


def test_a_callback_that_raises_is_reported_and_harms_nobody() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(str(context.get("exception")))
        )
        events: list[str] = []

        def fired(_: str) -> None:
            raise RuntimeError("a defect of the callback's")

        await client.watch("/a", fired)
        await client.watch("/a", events.append)
        await CLOCK.sleep(1)
        assert reported == ["a defect of the callback's"]
        assert events == ["/a"]
        assert await client.read("/a/b") == b"value"
        store.set("/a", b"")
        await CLOCK.sleep(1)
        assert len(reported) == 2
        assert events == ["/a", "/a"]

    on_a_store(body)


def test_a_watch_cancelled_while_it_is_registered_is_taken_back() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")
        events: list[str] = []
        store.connections[0].hold()
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(1):
                await client.watch("/a", events.append)
        store.connections[0].release()
        await CLOCK.sleep(1)
        assert store.connections[0].watches == []
        assert store.seen["UNWATCH"] == 1
        assert events == []

    on_a_store(body)


def test_a_watch_that_is_refused_raises_and_is_forgotten() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.rules[Op.WATCH] = lambda connection, request: (
            connection.wire.error(request, "E2BIG") if request.path == "/a" else None
        )
        assert await named(client.watch("/a", print)) == "E2BIG"
        assert await named(client.watch("/a b", print)) == "EINVAL"
        assert client._link._watches == {}

    on_a_store(body)


def test_resetting_takes_all_watches_back() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        events: list[str] = []
        watch = await client.watch("/a", events.append)
        await CLOCK.sleep(1)
        await client.reset_watches()
        assert store.connections[0].watches == []
        await client.unwatch(watch)
        await CLOCK.sleep(1)
        assert events == ["/a"]

    on_a_store(body)
