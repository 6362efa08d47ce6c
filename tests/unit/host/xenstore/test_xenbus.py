"""The client on a character device: a pseudo-terminal stands in for /dev/xen/xenbus.

Its one end is the device the client opens, the other is read as the kernel would: what comes in
one write is one packet. What only the kernel's device does (a write that fails with the errno of
XenStore's answer) is tried on the transport with a write that fails. A pseudo-terminal takes a
moment of real time to hand over what was written, so these tests run on a real loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import tty
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import XenStoreError, XenStoreUnreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore import transport
from lamplighter.host.xenstore.client import XenStore
from lamplighter.xenstore.server import ServerConnection
from lamplighter.xenstore.wire import Op, Packet, PacketReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.xenstore.server import Request

CLOCK = LoopClock()


class Kernel:
    """The other end of the device. It sends its replies a few bytes at a time."""

    def __init__(self, piece: int) -> None:
        self.end, self.device = os.openpty()
        tty.setraw(self.device)
        os.set_blocking(self.end, False)
        self.path = os.ttyname(self.device)
        self.wire = ServerConnection()
        self.piece = piece
        self.unsent = b""
        self.values = {"/a": b"v" * 1000}
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.end, self.read)

    def read(self) -> None:
        for request in self.wire.receive(os.read(self.end, 65536)):
            self.unsent += self.answer(request)
        self.send()

    def send(self) -> None:
        if not self.unsent:
            self.loop.remove_writer(self.end)
            return
        self.loop.add_writer(self.end, self.send)
        with contextlib.suppress(BlockingIOError):
            sent = os.write(self.end, self.unsent[: self.piece])
            self.unsent = self.unsent[sent:]

    def answer(self, request: Request) -> bytes:
        if request.op == Op.WATCH:
            event = self.wire.watch_event(request.path, request.token)
            return event + self.wire.reply(request)  # the kernel may tell the event first
        if request.op == Op.READ and request.path in self.values:
            return self.wire.reply(request, self.values[request.path])
        return self.wire.error(request, "ENOENT")

    def close(self) -> None:
        if self.end >= 0:
            self.loop.remove_reader(self.end)
            self.loop.remove_writer(self.end)
            os.close(self.end)
            os.close(self.device)
            self.end = -1


def on_a_device(body: Callable[[Kernel, XenStore], Awaitable[None]], piece: int = 3) -> None:
    async def main() -> None:
        kernel = Kernel(piece)
        client = await XenStore.connect(kernel.path, CLOCK)
        try:
            async with CLOCK.timeout(20):
                await body(kernel, client)
        finally:
            await client.close()
            kernel.close()

    asyncio.run(main())


@pytest.mark.parametrize("piece", [1, 3, 16, 17, 4096])
def test_replies_come_in_any_pieces(piece: int) -> None:
    async def body(_: Kernel, client: XenStore) -> None:
        assert await client.read("/a") == b"v" * 1000
        assert await client.read_or_none("/none") is None
        values = await asyncio.gather(*(client.read("/a") for _ in range(3)))
        assert values == [b"v" * 1000] * 3

    on_a_device(body, piece)


def test_a_watch_may_fire_before_it_is_confirmed() -> None:
    async def body(_: Kernel, client: XenStore) -> None:
        fired: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await client.watch("/a", fired.set_result)
        assert await fired == "/a"

    on_a_device(body)


def patch(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, write: Callable[[int, bytes], int]
) -> None:
    """Put a write in the place of the client's, not of the kernel's."""
    real = os.write

    def patched(descriptor: int, data: bytes) -> int:
        return real(descriptor, data) if descriptor == kernel.end else write(descriptor, data)

    monkeypatch.setattr(transport.os, "write", patched)


def test_each_write_holds_one_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write

    def noted(descriptor: int, data: bytes) -> int:
        written.append(data)
        return real(descriptor, data)

    async def body(kernel: Kernel, client: XenStore) -> None:
        patch(monkeypatch, kernel, noted)
        await asyncio.gather(*(client.read("/a") for _ in range(20)))

    on_a_device(body, piece=4096)
    assert len(written) == 20
    assert all(len(list(PacketReader().feed(data))) == 1 for data in written)


def test_a_device_that_takes_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    turns = itertools.count()

    def little(descriptor: int, data: bytes) -> int:
        if next(turns) % 3 == 0:
            raise BlockingIOError
        return real(descriptor, data[:5])

    async def body(kernel: Kernel, client: XenStore) -> None:
        patch(monkeypatch, kernel, little)
        assert await asyncio.gather(*(client.read("/a") for _ in range(5))) == [b"v" * 1000] * 5

    on_a_device(body, piece=4096)


def test_a_write_that_fails_by_a_name_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def refusing(descriptor: int, data: bytes) -> int:
        (packet,) = PacketReader().feed(data)
        if packet.op == Op.WATCH:
            raise OSError(errno.EEXIST, "refused")
        return real(descriptor, data)

    async def body(kernel: Kernel, client: XenStore) -> None:
        patch(monkeypatch, kernel, refusing)
        with pytest.raises(XenStoreError, match="EEXIST to WATCH /a"):
            await client.watch("/a", print)
        assert await client.read_or_none("/none") is None

    on_a_device(body, piece=4096)


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EIO])
def test_a_write_that_fails_otherwise_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(_descriptor: int, _data: bytes) -> int:
        raise OSError(number, "no device")

    async def body(kernel: Kernel, client: XenStore) -> None:
        patch(monkeypatch, kernel, failing)
        with pytest.raises(XenStoreUnreachable, match="no device"):
            await client.read("/a")

    on_a_device(body)


def test_a_device_that_goes_away() -> None:
    async def body(kernel: Kernel, client: XenStore) -> None:
        changed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        client.on_connection(changed.set_result)
        kernel.close()
        with pytest.raises(XenStoreUnreachable):
            await client.read("/a")
        assert not await changed

    on_a_device(body)


def test_packets_are_what_the_device_gets() -> None:
    async def body(kernel: Kernel, client: XenStore) -> None:
        readable = asyncio.Event()
        kernel.loop.add_reader(kernel.end, readable.set)
        read = asyncio.create_task(client.read("/a"))
        await readable.wait()
        (packet,) = PacketReader().feed(os.read(kernel.end, 4096))
        assert packet == Packet(Op.READ, 1, 0, b"/a\0")
        read.cancel()
        await asyncio.wait([read])

    on_a_device(body)
