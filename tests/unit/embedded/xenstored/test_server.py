"""The embedded XenStore on its socket: clients that misbehave harm nobody else."""

from __future__ import annotations

import asyncio
import socket
import stat
import struct
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.xenstored.server import CLIENTS_MAX, XenStoreServer
from lamplighter.embedded.xenstored.store import Store
from lamplighter.errors import XenStoreUnreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import XenStore
from lamplighter.xenstore.wire import Op, PacketReader
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Body = Callable[[XenStoreServer, Path], Awaitable[None]]

CLOCK = LoopClock()

#: Events of so many nodes do not fit into what is sent at one go to a client that begins to read,
#: nor so many requests into what is read at one go.
MORE_EVENTS, MORE_REQUESTS = 3000, 20_000


def packet(op: int, payload: bytes, length: int | None = None) -> bytes:
    return struct.pack("<IIII", op, 1, 0, len(payload) if length is None else length) + payload


def serving(body: Body) -> None:
    async def main(path: Path) -> None:
        store = Store()
        server = XenStoreServer(store, path, CLOCK)
        await server.start()
        async with CLOCK.timeout(600):
            await body(server, path)
        await server.close()
        assert not store._sessions, "every session ended with its connection"

    with tempfile.TemporaryDirectory(prefix="lamp-") as folder:
        virtual.run(main(Path(folder) / "s"), seed=1)
        assert not Path(folder, "s").exists()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_may_open_the_socket() -> None:
    async def body(_: XenStoreServer, path: Path) -> None:
        assert mode(path) == 0o600

    serving(body)


@pytest.mark.parametrize(
    "sent",
    [
        packet(Op.READ, b"", length=5000),
        packet(Op.READ, b"", length=0xFFFFFFFF),
        b"\xff" * 64,
    ],
)
def test_what_is_no_packet_ends_only_that_connection(sent: bytes) -> None:
    async def body(_: XenStoreServer, path: Path) -> None:
        good = await XenStore.connect(str(path), CLOCK)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
        await good.write("/a", b"1")
        assert await good.read("/a") == b"1"
        await good.close()

    serving(body)


@pytest.mark.parametrize(
    ("op", "payload", "error"),
    [
        (77, b"", b"ENOSYS"),
        (Op.READ, b"/none\0", b"ENOENT"),
        (Op.READ, b"no terminator", b"EINVAL"),
        (Op.READ, b"//\0", b"EINVAL"),
        (Op.WATCH, b"/a\0", b"EINVAL"),
        (Op.TRANSACTION_END, b"T\0", b"ENOENT"),
        (Op.UNWATCH, b"/a\0t\0", b"ENOENT"),
    ],
)
def test_a_request_that_cannot_be_is_answered_with_its_error(
    op: int, payload: bytes, error: bytes
) -> None:
    async def body(_: XenStoreServer, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(packet(op, payload))
        header = await reader.readexactly(16)
        kind, request, _, length = struct.unpack("<IIII", header)
        assert (kind, request) == (Op.ERROR, 1)
        assert await reader.readexactly(length) == error + b"\0"
        writer.close()

    serving(body)


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def body(server: XenStoreServer, path: Path) -> None:
        _, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(packet(Op.WRITE, b"/big\0" + bytes(4000)))
        for _ in range(3000):
            writer.write(packet(Op.READ, b"/big\0"))
            if writer.transport.get_write_buffer_size():
                break
            await CLOCK.sleep(0.001)
        await CLOCK.sleep(1)
        (stuck,) = server._connections
        assert stuck._full
        assert stuck._transport.get_write_buffer_size() < 1 << 18
        other = await XenStore.connect(str(path), CLOCK)
        assert len(await other.read("/big")) == 4000
        await other.close()
        writer.transport.abort()

    serving(body)


def test_events_that_nobody_reads_are_kept_once_each_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lamplighter.embedded.xenstored.server.EVENTS_KEPT", 100)

    async def body(server: XenStoreServer, path: Path) -> None:
        _, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(packet(Op.WATCH, b"/w\0t\0"))
        await CLOCK.sleep(0.1)
        (lazy,) = server._connections
        lazy.pause_writing()
        other = await XenStore.connect(str(path), CLOCK)
        for _ in range(300):
            await other.write("/w/same", b"")
        assert 0 < len(lazy._kept) <= 2
        for number in range(120):
            await other.write(f"/w/{number}", b"")
        await CLOCK.sleep(0.1)
        assert lazy not in server._connections
        await other.close()
        writer.transport.abort()

    serving(body)


def test_a_client_that_reads_late_is_answered_everything_it_has_asked() -> None:
    async def body(server: XenStoreServer, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(packet(Op.WATCH, b"/w\0t\0") + packet(Op.WRITE, b"/big\0" + bytes(4000)))
        writer.write(packet(Op.WRITE, b"/small\0"))
        await CLOCK.sleep(0.1)
        (late,) = server._connections
        asked = 0
        while not late._full:
            writer.write(packet(Op.READ, b"/big\0") * 10)
            asked += 10
            await CLOCK.sleep(0.01)
        other = await XenStore.connect(str(path), CLOCK)
        for number in range(MORE_EVENTS):
            await other.write(f"/w/{number:0100}", b"")
        await other.close()
        writer.write(packet(Op.READ, b"/small\0") * MORE_REQUESTS)

        answers, seen = Counter[int](), PacketReader()
        while answers[Op.READ] < asked + MORE_REQUESTS:
            async with CLOCK.timeout(60):
                answers.update(answer.op for answer in seen.feed(await reader.read(1 << 16)))
            await CLOCK.sleep(0.001)
        assert answers[Op.WATCH_EVENT] == MORE_EVENTS + 1
        writer.transport.abort()

    serving(body)


def test_too_many_clients_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CLIENTS_MAX > 100
    monkeypatch.setattr("lamplighter.embedded.xenstored.server.CLIENTS_MAX", 3)

    async def body(_: XenStoreServer, path: Path) -> None:
        clients = [await XenStore.connect(str(path), CLOCK) for _ in range(3)]
        await clients[0].write("/a", b"")
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        writer.close()
        assert await clients[2].read("/a") == b""
        for client in clients:
            await client.close()

    serving(body)


def test_a_restart_keeps_the_tree_and_the_watches_come_back() -> None:
    async def body(server: XenStoreServer, path: Path) -> None:
        client = await XenStore.connect(str(path), CLOCK)
        await client.write("/a", b"kept")
        fired: list[str] = []
        await client.watch("/a", fired.append)
        await client.read("/a")
        fired.clear()
        interruption = asyncio.create_task(server.interrupt(2.0))
        await CLOCK.sleep(1)
        with pytest.raises(XenStoreUnreachable):
            await client.read("/a")
        await interruption
        await CLOCK.sleep(6)
        assert await client.read("/a") == b"kept"
        assert fired == ["/a"], "the watch was set again"
        await client.close()

    serving(body)


@pytest.mark.parametrize("rounds", range(5))
def test_who_is_being_accepted_while_it_closes_is_closed_as_well(rounds: int) -> None:
    async def body(server: XenStoreServer, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.settimeout(0)
            for _ in range(rounds):
                await CLOCK.sleep(0)
            await server.close()
            assert not server._connections
            with suppress(ConnectionResetError):  # it was never accepted
                assert client.recv(1) == b""

    serving(body)
