"""The transport's look: an answer that is there already is found before the loop sleeps."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from lamplighter.host.xenstore_transport import Transport
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Told:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def packet_refused(self, packet: bytes, error: str) -> None:
        raise AssertionError("a socket refuses no packet")

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


async def turns(number: int) -> None:
    """Let the loop turn a few times."""
    for _ in range(number):
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turned.set_result, None)
        await turned


def on_a_pair(
    body: Callable[[Transport, Told, socket.socket], Coroutine[None, None, None]],
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        told = Told()
        transport = Transport(ours.detach(), told, is_device=False)
        with theirs:
            await body(transport, told, theirs)
            transport.abort()
            await turns(2)
        assert len(told.lost) == 1

    virtual.run(main())


def test_an_answer_found_is_handled_in_the_next_turn_and_in_order() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        theirs.send(b"first")
        transport.look()
        assert told.data == []
        theirs.send(b"second")
        await turns(3)
        assert told.data == [b"first", b"second"]

    on_a_pair(body)


def test_looking_in_vain_changes_nothing() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        transport.look()
        await turns(3)
        assert told.data == []
        theirs.send(b"later")
        await turns(3)
        assert told.data == [b"later"]

    on_a_pair(body)


def test_an_end_found_while_looking_is_told_in_a_turn_of_its_own() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        theirs.shutdown(socket.SHUT_WR)
        transport.look()
        assert told.lost == []
        await turns(4)
        assert isinstance(told.lost[0], EOFError)
        transport.look()
        transport.write([b"too late"])

    on_a_pair(body)


def test_a_reset_found_while_looking_is_told_as_such() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        transport.write([b"unread"])
        theirs.close()
        transport.look()
        assert told.lost == []
        await turns(2)
        assert isinstance(told.lost[0], ConnectionResetError)

    on_a_pair(body)


def test_nothing_is_looked_for_before_all_is_sent() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        everything = bytes(4 * 1024 * 1024)
        transport.write([everything])
        theirs.send(b"answer")
        transport.look()
        await turns(1)
        assert told.data == [b"answer"]  # by the loop
        theirs.settimeout(0)
        received = 0
        while received < len(everything):
            received += len(theirs.recv(1 << 20))
            await turns(2)

    on_a_pair(body)
