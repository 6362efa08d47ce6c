"""The XenStore client on a socket: requests, transactions, watches, and what cancels them."""

from __future__ import annotations

import asyncio
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.errors import (
    ProtocolError,
    StoreConflict,
    XenStoreError,
    XenStoreUnreachable,
)
from lamplighter.host import xenstore
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore import XenStore
from lamplighter.xenstore import permissions
from lamplighter.xenstore.client import PENDING_MAX
from lamplighter.xenstore.wire import Op, encode
from tests import virtual
from tests.small_store import SmallStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.xenstore.server import Request
    from tests.small_store import Connection

    Body = Callable[[SmallStore, XenStore], Awaitable[None]]

CLOCK = LoopClock()


def on_a_store(body: Body, seed: int | None = 1) -> None:
    """Run the body with a store and a client of it."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with SmallStore(Path(folder) / "socket") as store:
                store.values = {"/a": b"", "/a/b": b"value", "/local/domain/3": b""}
                client = await XenStore.connect(str(store.path), CLOCK)
                try:
                    async with CLOCK.timeout(3600):
                        await body(store, client)
                finally:
                    await client.close()

    virtual.run(main(), seed=seed)


async def named(request: Awaitable[Any]) -> str:
    """Return the name of the error a request ends with."""
    with pytest.raises(XenStoreError) as caught:
        await request
    return caught.value.name


def test_reading_and_writing() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        assert await client.read("/a/b") == b"value"
        await client.write("/a/c", bytes(range(256)))
        assert store.values["/a/c"] == bytes(range(256))
        assert await client.read_or_none("/a/c") == bytes(range(256))
        assert await client.read_or_none("/none") is None
        assert await named(client.read("/none")) == "ENOENT"
        await client.mkdir("/a/d")
        assert await client.directory("/a") == ["b", "c", "d"]
        await client.rm("/a")
        assert await client.directory("/a") == []

    on_a_store(body)


def test_permissions_and_domains() -> None:
    async def body(_: SmallStore, client: XenStore) -> None:
        granted = [permissions.parse("n0"), permissions.parse("b3")]
        await client.set_permissions("/a", granted)
        assert await client.get_permissions("/a") == granted
        assert await client.get_domain_path(3) == "/local/domain/3"
        assert await client.is_domain_introduced(3)
        assert not await client.is_domain_introduced(4)

    on_a_store(body)


def test_errors_tell_what_was_asked() -> None:
    async def body(_: SmallStore, client: XenStore) -> None:
        with pytest.raises(XenStoreError, match="answered ENOENT to READ /none"):
            await client.read("/none")
        with pytest.raises(XenStoreError, match="'/a b' is no path in XenStore"):
            await client.read("/a b")
        assert await named(client.write("/a", bytes(4096))) == "E2BIG"

    on_a_store(body)


def test_an_error_that_is_not_enoent_is_never_none() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.rules[Op.READ] = lambda connection, request: connection.wire.error(request, "EACCES")
        assert await named(client.read_or_none("/a/b")) == "EACCES"

    on_a_store(body)


def test_a_directory_too_large_for_one_reply_comes_in_parts() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        names = sorted(f"domain-{number}" for number in range(2000))
        store.values |= {f"/vm/{name}": b"" for name in names}
        assert await client.directory("/vm") == names
        assert store.seen["DIRECTORY_PART"] > 5

    on_a_store(body)


def test_a_directory_that_changes_between_parts_is_listed_again() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.values |= {f"/vm/domain-{number}": b"" for number in range(1000)}
        generations = iter([1, 1, 2, 3])

        def changing(connection: Connection, request: Request) -> bytes | None:
            generation = next(generations, 4)
            payload = connection.directory_part(request)
            return connection.wire.reply(request, b"%d" % generation + payload[1:])

        store.rules[Op.DIRECTORY_PART] = changing
        assert len(await client.directory("/vm")) == 1000
        store.rules[Op.DIRECTORY_PART] = lambda connection, request: connection.wire.reply(
            request, b"%d\0x\0" % store.seen["DIRECTORY_PART"]
        )
        assert await named(client.directory("/vm")) == "EAGAIN"

    on_a_store(body)


def test_a_directory_without_end_is_given_up() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.values |= {f"/vm/domain-{number}": b"" for number in range(1000)}
        endless = b"1\0" + b"name\0" * 800
        store.rules[Op.DIRECTORY_PART] = lambda connection, request: connection.wire.reply(
            request, endless
        )
        assert await named(client.directory("/vm")) == "E2BIG"

    on_a_store(body)


def test_requests_are_pipelined() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.values |= {f"/n/{number}": b"%d" % number for number in range(500)}
        await client.read("/a/b")
        (connection,) = store.connections
        connection.hold()
        reads = [asyncio.create_task(client.read(f"/n/{number}")) for number in range(500)]
        await CLOCK.sleep(1)
        assert store.seen["READ"] == 501
        assert not any(read.done() for read in reads)
        assert connection.held is not None
        connection.held.reverse()  # replies may come in any order
        connection.release()
        assert await asyncio.gather(*reads) == [b"%d" % number for number in range(500)]

    on_a_store(body)


def test_more_bytes_than_the_socket_takes_at_once() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        values = {f"/n/{number}": bytes([number % 256]) * 4000 for number in range(1000)}
        await asyncio.gather(*(client.write(path, value) for path, value in values.items()))
        assert {path: store.values[path] for path in values} == values
        read = await asyncio.gather(*(client.read(path) for path in values))
        assert read == list(values.values())

    on_a_store(body)


def test_more_requests_than_may_be_pending_wait_their_turn() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")
        (connection,) = store.connections
        connection.hold()
        number = PENDING_MAX + 100
        reads = [asyncio.create_task(client.read("/a/b")) for _ in range(number)]
        await CLOCK.sleep(1)
        assert store.seen["READ"] == 1 + PENDING_MAX
        reads[-1].cancel()  # never sent, and never will be
        connection.release()
        assert await asyncio.gather(*reads[:-1]) == [b"value"] * (number - 1)
        assert store.seen["READ"] == number

    on_a_store(body, seed=None)  # so that the last one is the last


def test_requests_given_up_cost_no_memory_while_the_server_hangs() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")
        store.connections[0].hold()
        for _ in range(5):
            reads = [asyncio.create_task(client.read("/a/b")) for _ in range(PENDING_MAX)]
            await CLOCK.sleep(1)
            for read in reads:
                read.cancel()
            await asyncio.wait(reads)
        assert client._link._client.pending == PENDING_MAX
        assert len(client._link._backlog) <= PENDING_MAX + 1
        store.connections[0].release()
        assert await client.read("/a/b") == b"value"

    on_a_store(body)


def test_a_request_given_up_leaves_the_connection_sound() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")
        store.connections[0].hold()
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(5):
                await client.read("/none")
        other = asyncio.create_task(client.read("/a/b"))
        await CLOCK.sleep(1)
        store.connections[0].release()
        assert await other == b"value"
        assert store.seen["READ"] == 3

    on_a_store(body)


def test_a_transaction_is_committed_once_with_all_its_requests() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> bytes:
            await client.write("/a/x", b"1", tx)
            return await client.read("/a/b", tx)

        used: set[int] = set()
        store.rules[Op.WRITE] = lambda _, request: used.add(request.tx_id)
        assert await client.transact(change) == b"value"
        assert store.values["/a/x"] == b"1"
        assert used == {1}
        assert store.connections[0].transactions == set()

    on_a_store(body)


def test_a_transaction_in_conflict_is_done_again_from_its_start() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.conflicts = 3
        seen: list[int] = []

        async def change(tx: int) -> None:
            seen.append(tx)
            await client.write("/a/x", b"1", tx)

        await client.transact(change)
        assert len(set(seen)) == 4
        assert store.seen["TRANSACTION_END"] == 4

    on_a_store(body)


def test_a_transaction_does_not_conflict_for_ever() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.conflicts = 1000

        async def nothing(_: int) -> None:
            return

        with pytest.raises(StoreConflict, match="64 times in a row"):
            await client.transact(nothing)
        assert store.seen["TRANSACTION_START"] == xenstore.TRANSACTION_ATTEMPTS

    on_a_store(body)


def test_an_error_in_a_transaction_aborts_it() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> None:
            await client.write("/a/x", b"1", tx)
            await client.read("/none", tx)

        assert await named(client.transact(change)) == "ENOENT"
        await client.read("/a/b")
        assert store.connections[0].transactions == set()
        assert store.seen["TRANSACTION_END"] == 1

    on_a_store(body)


def test_a_transactions_number_means_nothing_after_its_end() -> None:
    async def body(_: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> int:
            return tx

        tx = await client.transact(change)
        with pytest.raises(XenStoreError, match=f"transaction {tx} has ended"):
            await client.read("/a/b", tx)

    on_a_store(body)


@pytest.mark.parametrize("turns", range(8))
def test_a_transaction_cancelled_at_any_moment_leaves_none_open(turns: int) -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> None:
            await client.write("/a/x", b"1", tx)

        task = asyncio.create_task(client.transact(change))
        turn = asyncio.Event()
        for _ in range(turns):
            asyncio.get_running_loop().call_soon(turn.set)
            await turn.wait()
            turn.clear()
        task.cancel()
        await asyncio.wait([task])
        await CLOCK.sleep(1)
        assert await client.read("/a/b") == b"value"
        assert store.connections[0].transactions == set()
        assert client._transactions == {}

    on_a_store(body, seed=turns)


def test_a_start_cancelled_while_the_server_thinks_is_aborted_when_it_answers() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")

        async def nothing(_: int) -> None:
            return

        store.connections[0].hold()
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(1):
                await client.transact(nothing)
        assert store.connections[0].transactions == {1}
        store.connections[0].release()
        await CLOCK.sleep(1)
        assert store.connections[0].transactions == set()

    on_a_store(body)


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


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (encode(Op.READ, 999, 0, b""), "nobody asked for"),
        (encode(Op.ERROR, 1, 0, b"what\0"), "malformed error"),
        (encode(Op.WRITE, 1, 0, b"OK\0"), r"READ \(request id 1\) with WRITE"),
        (encode(Op.WATCH_EVENT, 0, 0, b"/a\x007\0"), "never was"),
        (struct.pack("=IIII", 2, 1, 0, 5000), "announces 5000 bytes"),
    ],
)
def test_what_is_not_the_protocol_ends_the_connection_by_name(answer: bytes, why: str) -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.rules[Op.READ] = lambda *_: answer
        with pytest.raises(ProtocolError, match=why):
            await client.read("/a/b")
        with pytest.raises(ProtocolError, match=why):
            await client.write("/a/b", b"")

    on_a_store(body)


def test_a_malformed_list_ends_the_connection_by_name() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.rules[Op.DIRECTORY] = lambda connection, request: connection.wire.reply(
            request, b"\xff\xfe"
        )
        with pytest.raises(ProtocolError, match="malformed list of names"):
            await client.directory("/a")
        with pytest.raises(ProtocolError):
            await client.read("/a/b")

    on_a_store(body)


def test_closing_ends_what_is_under_way() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        changes: list[bool] = []
        client.on_connection(changes.append)
        await client.read("/a/b")
        store.connections[0].hold()
        read = asyncio.create_task(client.read("/a/b"))
        await CLOCK.sleep(1)
        await client.close()
        with pytest.raises(XenStoreUnreachable, match="was closed"):
            await read
        with pytest.raises(XenStoreUnreachable, match="was closed"):
            await client.read("/a/b")
        await client.close()
        await CLOCK.sleep(100)
        assert changes == []
        assert store.connections == []

    on_a_store(body)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file"),
        (lambda path: path.mkdir(), "neither a socket nor a character device"),
        (lambda path: path.write_bytes(b""), "neither a socket nor a character device"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
    ],
)
def test_nothing_to_connect_to(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    make(tmp_path / "socket")
    with pytest.raises(XenStoreUnreachable, match=why) as caught:
        virtual.run(XenStore.connect(str(tmp_path / "socket"), CLOCK))
    assert caught.value.hint
    assert caught.value.exit_status == 69


def test_a_socket_nobody_listens_on() -> None:
    async def body(store: SmallStore, _: XenStore) -> None:
        assert store._server is not None
        store._server.close()
        with pytest.raises(XenStoreUnreachable, match="refused"):
            await XenStore.connect(str(store.path), CLOCK)

    on_a_store(body)
