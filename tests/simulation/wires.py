"""Connections inside one process: what is written at one end is read at the other in the next turn.

A story's programs and its host are in one process, where sockets and polling them took a third of
the time. The protocols at both ends are the product's own, byte for byte. Its transports, which cut
packets and wait for slow readers, have unit tests, and the contract.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from lamplighter.embedded.toolstack import control
from lamplighter.embedded.xenstored import server
from lamplighter.errors import ToolstackUnreachable
from lamplighter.host.xenstore import connection
from lamplighter.toolstacks.embedded import ControlClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lamplighter.host.xenstore.transport import Receiver
    from lamplighter.model.clock import Clock

    Accept = Callable[[], asyncio.Protocol]


class Listening(NamedTuple):
    """A path that is listened at."""

    wires: Wires
    path: str

    def close(self) -> None:
        """Accept nobody any more."""
        self.wires.accepting.pop(self.path, None)


class Wires:
    """Who accepts connections at which path; it stands in for sockets while it is ``laid``."""

    def __init__(self) -> None:
        self.accepting: dict[str, Accept] = {}

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Have the embedded host listen here and XenStore's client connect here."""
        with (
            patch.object(control, "listen", self.listen),
            patch.object(server, "listen", self.listen),
            patch.object(connection, "open_transport", self.open_transport),
        ):
            yield

    async def listen(self, path: Path, accept: Accept) -> Listening:
        """Stands in for ``host.unix_socket.listen``."""
        self.accepting[str(path)] = accept
        return Listening(self, str(path))

    async def open_transport(self, path: str, receiver: Receiver) -> ClientEnd:
        """Stands in for ``host.xenstore_transport.open_transport``."""
        return self.connect(path, receiver.data_received, receiver.connection_lost)

    def connect(
        self,
        path: str,
        received: Callable[[bytes], None],
        lost: Callable[[Exception | None], None],
    ) -> ClientEnd:
        """Connect to who listens at ``path``; ``OSError`` where nobody does."""
        accept = self.accepting.get(path)
        if accept is None:
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return ClientEnd(accept, received, lost)


class ServerEnd(asyncio.Transport):
    """What the host's protocol writes to. Its client always reads."""

    def __init__(self, client: ClientEnd, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._client = client
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes to the client."""
        if not self._closing:
            self._client.loop.call_soon(self._client.receive, bytes(data))

    def is_closing(self) -> bool:
        """Whether this end has hung up, or knows that the other one has."""
        return self._closing

    def close(self) -> None:
        """Hang up. The client reads first what was written before."""
        if not self._closing:
            self._client.loop.call_soon(self._client.lose)
            self._client.loop.call_soon(self._protocol.connection_lost, None)
        self._closing = True

    abort = close

    def receive(self, data: bytes) -> None:
        """Take what the client has written; a defect in that ends the connection, as ever."""
        if not self._closing:
            try:
                self._protocol.data_received(data)
            except BaseException:
                self.close()
                raise

    def lose(self) -> None:
        """The client has hung up."""
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(None)


class ClientEnd:
    """What a client writes to, as a ``host.xenstore_transport.Transport``."""

    def __init__(
        self,
        accept: Accept,
        received: Callable[[bytes], None],
        lost: Callable[[Exception | None], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._received = received
        self._lost = lost
        self._open = True
        protocol = accept()
        self._server = ServerEnd(self, protocol)
        protocol.connection_made(self._server)

    def write(self, packets: Sequence[bytes]) -> None:
        """Send packets."""
        if self._open:
            self.loop.call_soon(self._server.receive, b"".join(packets))

    def poll_reply(self) -> None:
        """No answer is there before the loop has had its turn."""

    def abort(self) -> None:
        """Hang up; nothing is received after that. The server reads first what was written."""
        if self._open:
            self.loop.call_soon(self._server.lose)
            self.loop.call_soon(self._lost, None)
        self._open = False

    def receive(self, data: bytes) -> None:
        """Take what the server has written."""
        if self._open:
            self._received(data)

    def lose(self) -> None:
        """The server has hung up."""
        if self._open:
            self._open = False
            self._lost(EOFError("end of file"))


class WiredControl(ControlClient):
    """The client of the host's control socket, without the socket."""

    def __init__(self, wires: Wires, path: Path, clock: Clock, call_timeout: float) -> None:
        super().__init__(path, clock, call_timeout)
        self._wires = wires

    async def _exchange(self, request: bytes) -> bytes:
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answer(line: bytes) -> None:
            if not answered.done():
                answered.set_result(line)

        try:
            end = self._wires.connect(str(self._path), answer, lambda _: answer(b""))
        except OSError as error:
            raise ToolstackUnreachable(f"no host answers at {self._path}: {error}") from error
        try:
            end.write([request])
            return await answered
        finally:
            end.abort()
