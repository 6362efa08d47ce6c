"""Looking for an answer that is there already, and leaving the rest of the program its turns."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore import connection
from lamplighter.host.xenstore.client import XenStore
from lamplighter.host.xenstore.connection import POLLS_A_TURN
from lamplighter.host.xenstore.transport import Transport
from lamplighter.xenstore.server import ServerConnection
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    import pytest

    from lamplighter.host.xenstore.transport import Receiver


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


def test_an_answer_found_is_handed_over_at_once_and_in_order() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        theirs.send(b"first")
        transport.poll_reply()
        assert told.data == [b"first"]
        theirs.send(b"second")
        await turns(3)
        assert told.data == [b"first", b"second"]

    on_a_pair(body)


def test_looking_in_vain_changes_nothing() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        transport.poll_reply()
        await turns(3)
        assert told.data == []
        theirs.send(b"later")
        await turns(3)
        assert told.data == [b"later"]

    on_a_pair(body)


def test_an_end_found_while_looking_is_reported_in_a_turn_of_its_own() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        theirs.shutdown(socket.SHUT_WR)
        transport.poll_reply()
        assert told.lost == []
        await turns(4)
        assert isinstance(told.lost[0], EOFError)
        transport.poll_reply()
        transport.write([b"too late"])

    on_a_pair(body)


def test_a_reset_found_while_looking_is_reported_as_such() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        transport.write([b"unread"])
        theirs.close()
        transport.poll_reply()
        assert told.lost == []
        await turns(2)
        assert isinstance(told.lost[0], ConnectionResetError)

    on_a_pair(body)


def test_nothing_is_looked_for_before_all_is_sent() -> None:
    async def body(transport: Transport, told: Told, theirs: socket.socket) -> None:
        everything = bytes(4 * 1024 * 1024)
        transport.write([everything])
        theirs.send(b"answer")
        transport.poll_reply()
        await turns(1)
        assert told.data == [b"answer"]  # by the loop
        theirs.settimeout(0)
        received = 0
        while received < len(everything):
            received += len(theirs.recv(1 << 20))
            await turns(2)

    on_a_pair(body)


class Immediate:
    """A transport whose every look finds the answer; without a look the next turn does."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.server = ServerConnection()
        self.answers = b""

    def write(self, packets: Sequence[bytes]) -> None:
        for request in self.server.receive(b"".join(packets)):
            self.answers += self.server.reply(request, b"value")
        asyncio.get_running_loop().call_soon(self.poll_reply)

    def poll_reply(self) -> None:
        answers, self.answers = self.answers, b""
        self.receiver.data_received(answers)

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.receiver.connection_lost, None)


def test_one_request_after_another_leaves_the_others_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def immediate(_: str, receiver: Receiver) -> Immediate:
        return Immediate(receiver)

    async def main() -> None:
        client = await XenStore.connect("nowhere", LoopClock())
        reads_in_a_turn = [0]

        async def others() -> None:
            while True:
                await turns(1)
                reads_in_a_turn.append(0)

        counting = asyncio.create_task(others())
        await turns(2)
        for _ in range(1000):
            assert await client.read("/a") == b"value"
            reads_in_a_turn[-1] += 1
        counting.cancel()
        await asyncio.wait([counting])
        await client.close()
        assert sum(reads_in_a_turn) == 1000
        assert POLLS_A_TURN / 2 <= max(reads_in_a_turn) <= POLLS_A_TURN + 1

    monkeypatch.setattr(connection, "open_transport", immediate)
    virtual.run(main())
