"""The XenStore client when the connection is lost: nothing waits for ever, no event is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import ProtocolError, XenStoreUnreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import ATTEMPT_TIMEOUT, LONGEST_PAUSE, XenStore
from lamplighter.xenstore.wire import Op
from tests import virtual
from tests.small_store import SmallStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLOCK = LoopClock()


class Scene:
    """A store, a client of it, and what the client told about its connection."""

    def __init__(self, store: SmallStore, client: XenStore) -> None:
        self.store = store
        self.client = client
        self.changes: list[bool] = []
        self.events: list[str] = []
        client.on_connection(self.changes.append)

    async def back(self) -> None:
        """Wait until the client says that the connection is back."""
        while not self.changes or not self.changes[-1]:
            await CLOCK.sleep(0.05)


def on_a_scene(body: Callable[[Scene], Awaitable[None]], seed: int = 1) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with SmallStore(Path(folder) / "socket") as store:
                store.values = {"/a": b"value", "/b": b""}
                client = await XenStore.connect(str(store.path), CLOCK)
                try:
                    async with CLOCK.timeout(24 * 3600):
                        await body(Scene(store, client))
                finally:
                    await client.close()

    virtual.run(main(), seed=seed)


def test_what_is_under_way_ends_when_the_connection_does() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.read("/a")
        scene.store.connections[0].hold()
        reads = [asyncio.create_task(scene.client.read("/a")) for _ in range(10)]
        await CLOCK.sleep(1)
        scene.store.drop()
        for read in reads:
            with pytest.raises(XenStoreUnreachable, match="closed the connection"):
                await read
        with pytest.raises(XenStoreUnreachable, match="closed the connection"):
            await scene.client.write("/a", b"")
        await scene.back()
        assert scene.changes == [False, True]
        assert await scene.client.read("/a") == b"value"

    on_a_scene(body)


def test_each_connection_is_logged_for_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.drop()
        await scene.back()

    on_a_scene(body)
    assert caplog.messages == []
    caplog.set_level(logging.DEBUG, "lamplighter")
    on_a_scene(body)
    first, lost, again = caplog.messages
    assert first.startswith("connected to XenStore at /")
    assert lost.startswith("reconnecting to XenStore at /")
    assert again == "connected to XenStore again; watches: 1"


@pytest.mark.parametrize("seed", range(5))
def test_watches_are_registered_again_and_fire(seed: int) -> None:
    async def body(scene: Scene) -> None:
        for path in ("/a", "/b", "@releaseDomain"):
            await scene.client.watch(path, scene.events.append)
        gone = await scene.client.watch("/gone", scene.events.append)
        await scene.client.unwatch(gone)
        await CLOCK.sleep(1)
        scene.events.clear()
        scene.store.drop()
        await scene.back()
        watched = [path for path, _ in scene.store.connections[0].watches]
        assert watched == ["/a", "/b", "@releaseDomain"]
        await CLOCK.sleep(1)
        assert sorted(scene.events) == ["/a", "/b", "@releaseDomain"]
        scene.store.set("/b", b"")
        await CLOCK.sleep(1)
        assert scene.events[3:] == ["/b"]

    on_a_scene(body, seed)


def test_it_is_back_only_when_all_watches_are() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.rules[Op.WATCH] = lambda connection, _: connection.hold()
        scene.store.drop()
        await CLOCK.sleep(ATTEMPT_TIMEOUT / 2)
        assert scene.changes == [False]
        scene.store.connections[0].release()
        await CLOCK.sleep(1)
        assert scene.changes == [False, True]

    on_a_scene(body)


def test_a_server_that_takes_the_connection_and_says_nothing_is_tried_again() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.rules[Op.WATCH] = lambda connection, _: connection.hold()
        scene.store.drop()
        await CLOCK.sleep(ATTEMPT_TIMEOUT + 10)
        assert scene.changes == [False]
        assert len(scene.store.connections) == 1  # the first one was let go
        del scene.store.rules[Op.WATCH]
        await scene.back()
        assert scene.changes == [False, True]

    on_a_scene(body)


def test_a_store_that_is_away_for_an_hour_is_found_within_seconds() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.stop()
        await CLOCK.sleep(3600)
        assert scene.changes == [False]
        with pytest.raises(XenStoreUnreachable):
            await scene.client.read("/a")
        with pytest.raises(XenStoreUnreachable):
            await scene.client.watch("/b", scene.events.append)
        await scene.store.listen()
        before = CLOCK.monotonic()
        await scene.back()
        assert CLOCK.monotonic() - before < LONGEST_PAUSE + 1
        assert scene.changes == [False, True]
        assert [path for path, _ in scene.store.connections[0].watches] == ["/a"]

    on_a_scene(body)


def test_pauses_grow_while_the_connection_keeps_breaking() -> None:
    async def body(scene: Scene) -> None:
        accepted: list[float] = []
        await scene.client.watch("/a", scene.events.append)
        scene.store.accepting = False
        scene.store.rules[Op.WATCH] = lambda *_: accepted.append(CLOCK.monotonic())
        scene.store.drop()
        await CLOCK.sleep(60)
        assert scene.changes == [False]
        scene.store.accepting = True
        for _ in range(5):
            await scene.back()
            scene.store.drop()
            scene.changes.clear()
        pauses = [after - before for before, after in itertools.pairwise(accepted)]
        assert all(pause >= LONGEST_PAUSE for pause in pauses)
        await scene.back()
        await CLOCK.sleep(3600)
        scene.store.drop()
        before = CLOCK.monotonic()
        scene.changes.clear()
        await scene.back()
        assert CLOCK.monotonic() - before < 1

    on_a_scene(body)


def test_a_watch_refused_when_registered_again_keeps_it_from_being_back() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.rules[Op.WATCH] = lambda connection, request: connection.wire.error(
            request, "E2BIG"
        )
        scene.store.drop()
        await CLOCK.sleep(20)
        assert scene.changes == [False]
        del scene.store.rules[Op.WATCH]
        await scene.back()
        assert scene.events[-1] == "/a"

    on_a_scene(body)


def test_protocol_errors_end_the_connection_and_it_is_opened_again() -> None:
    async def body(scene: Scene) -> None:
        scene.store.rules[Op.READ] = lambda *_: b"\xff" * 16
        with pytest.raises(ProtocolError):
            await scene.client.read("/a")
        del scene.store.rules[Op.READ]
        await scene.back()
        assert await scene.client.read("/a") == b"value"
        assert scene.changes == [False, True]

    on_a_scene(body)


def test_a_transaction_does_not_reach_over_a_reconnect() -> None:
    async def body(scene: Scene) -> None:
        async def change(tx: int) -> None:
            scene.store.drop()
            await scene.back()
            # Another transaction has the server's same number on the new connection.
            scene.store.transactions = 0
            await scene.client._link.start()
            assert scene.store.connections[0].transactions == {1}
            await scene.client.write("/b", b"wrong", tx)

        with pytest.raises(XenStoreUnreachable):
            await scene.client.transact(change)
        assert scene.store.values["/b"] == b""
        assert scene.store.connections[0].transactions == {1}
        assert scene.client._transactions == {}

    on_a_scene(body)


def test_unwatching_does_not_mind_a_lost_connection() -> None:
    async def body(scene: Scene) -> None:
        first = await scene.client.watch("/a", scene.events.append)
        second = await scene.client.watch("/b", scene.events.append)
        scene.store.connections[0].hold()
        unwatching = asyncio.create_task(scene.client.unwatch(first))
        await CLOCK.sleep(1)
        scene.store.drop()
        await unwatching
        await scene.client.unwatch(second)
        await scene.back()
        assert scene.store.connections[0].watches == []

    on_a_scene(body)


def test_a_watch_taken_back_while_it_is_registered_again() -> None:
    async def body(scene: Scene) -> None:
        watch = await scene.client.watch("/a", scene.events.append)
        await CLOCK.sleep(1)
        scene.store.rules[Op.WATCH] = lambda connection, _: connection.hold()
        scene.store.drop()
        await CLOCK.sleep(10)
        unwatching = asyncio.create_task(scene.client.unwatch(watch))
        await CLOCK.sleep(1)
        scene.store.connections[0].release()
        await unwatching
        await scene.back()
        assert scene.events == ["/a"]
        assert scene.store.connections[0].watches == []

    on_a_scene(body)


def test_a_watch_lost_before_its_reply_is_not_registered_again() -> None:
    async def body(scene: Scene) -> None:
        await scene.client.read("/a")
        scene.store.connections[0].hold()
        watching = asyncio.create_task(scene.client.watch("/a", scene.events.append))
        await CLOCK.sleep(1)
        scene.store.drop()
        with pytest.raises(XenStoreUnreachable):
            await watching
        await scene.back()
        assert scene.store.connections[0].watches == []
        assert scene.events == []

    on_a_scene(body)


@pytest.mark.parametrize("moment", [0, 0.01, 0.11, 1, 40])
def test_closing_while_it_connects_again(moment: float) -> None:
    async def body(scene: Scene) -> None:
        await scene.client.watch("/a", scene.events.append)
        scene.store.rules[Op.WATCH] = lambda connection, _: connection.hold()
        scene.store.drop()
        await CLOCK.sleep(moment)
        await scene.client.close()
        await CLOCK.sleep(60)
        assert scene.store.connections == []
        assert True not in scene.changes

    on_a_scene(body)


def test_the_store_restarts_again_and_again_and_no_change_is_missed() -> None:
    async def body(scene: Scene) -> None:
        seen: list[bytes] = []
        told = asyncio.Event()
        await scene.client.watch("/a", lambda _: told.set())

        async def follow() -> None:
            while True:
                await told.wait()
                told.clear()
                try:
                    seen.append(await scene.client.read("/a"))
                except XenStoreUnreachable:
                    continue  # it fires again after the reconnect

        following = asyncio.create_task(follow())
        for number in range(40):
            scene.store.set("/a", b"%d" % number)
            if number % 3 == 0:
                scene.store.drop()
            if number % 7 == 0:
                scene.store.stop()
                await scene.store.listen()
            await CLOCK.sleep(20)
            assert seen[-1] == b"%d" % number
        following.cancel()
        await asyncio.wait([following])

    on_a_scene(body)
