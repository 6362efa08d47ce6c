"""The XenStore client on a socket: requests, their limits, and what is not the protocol."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import ProtocolError, XenStoreError, XenStoreUnreachable
from lamplighter.host.xenstore.client import XenStore
from lamplighter.xenstore import permissions
from lamplighter.xenstore.client import PENDING_MAX
from lamplighter.xenstore.wire import Op, encode
from tests import virtual
from tests.store_client import CLOCK, named, on_a_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamplighter.xenstore.server import Request
    from tests.small_store import Connection, SmallStore


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


def test_errors_say_what_was_requested() -> None:
    async def body(_: SmallStore, client: XenStore) -> None:
        with pytest.raises(XenStoreError, match="answered ENOENT to READ /none"):
            await client.read("/none")
        with pytest.raises(XenStoreError, match="'/a b' is not a XenStore path"):
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


def test_a_directory_that_is_not_there() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.rules[Op.DIRECTORY] = lambda connection, request: connection.wire.error(
            request, "ENOENT"
        )
        assert await named(client.directory("/none")) == "ENOENT"

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


def test_a_request_too_long_that_waited_its_turn_fails_alone() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")
        store.connections[0].hold()
        reads = [asyncio.create_task(client.read("/a/b")) for _ in range(PENDING_MAX)]
        await CLOCK.sleep(1)
        too_long = asyncio.create_task(client.write("/a/b", bytes(5000)))
        last = asyncio.create_task(client.read("/a/b"))
        await CLOCK.sleep(1)
        store.connections[0].release()
        assert await named(too_long) == "E2BIG"
        assert await asyncio.gather(*reads, last) == [b"value"] * (PENDING_MAX + 1)

    on_a_store(body)


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
        with pytest.raises(XenStoreUnreachable, match=r"refused|No such file"):
            await XenStore.connect(str(store.path), CLOCK)

    on_a_store(body)
