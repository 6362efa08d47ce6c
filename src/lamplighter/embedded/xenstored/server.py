"""The XenStore server: clients on a Unix socket, each a session of the control domain.

Nothing more is read from a client that does not read what it is sent, until it has caught up. Watch
events that it has not read are kept once each, as in xenstored. When there are too many of them, or
when the client breaks the protocol, the connection is closed. No client can harm another one, or
the store.

``interrupt`` closes every connection and refuses new ones for a while, as a restart would. The
tree stays, and so do the sessions of guests, which have no socket; a live update of xenstored
keeps these, too. (A crash of xenstored is not simulated: it takes the whole host with it, so
nothing could be learned from it.)
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.embedded.xenstored.requests import carry_out
from lamplighter.errors import ProtocolError, XenStoreError
from lamplighter.host.unix_socket import listen
from lamplighter.xenstore.server import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamplighter.embedded.xenstored.store import Store
    from lamplighter.model.clock import Clock
    from lamplighter.xenstore.server import Request

#: How many watch events are kept for a client that does not read; more close its connection.
EVENTS_KEPT = 10_000

#: An accepted client has become a connection within this many iterations of the event loop.
ACCEPTING = 3

#: How many clients are served at the same time; a further one is closed at once.
CLIENTS_MAX = 500


class XenStoreServer:
    """Serves one store on one socket."""

    def __init__(self, store: Store, path: Path, clock: Clock) -> None:
        self._store = store
        self._path = path
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Open the socket, replacing a stale one."""
        accept = partial(_Connection, self._store, self._connections)
        self._server = await listen(self._path, accept)

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        # A client that was just accepted becomes a connection in the next iterations of the loop.
        for _ in range(ACCEPTING):
            await self._clock.sleep(0)
        for connection in tuple(self._connections):
            connection.abort()
        while self._connections:
            await self._clock.sleep(0)

    async def interrupt(self, seconds: float) -> None:
        """Close every connection and refuse new ones for this many host seconds."""
        await self.close()
        await self._clock.sleep(seconds)
        await self.start()


class _Connection(asyncio.Protocol):
    """One client of the socket."""

    def __init__(self, store: Store, connections: set[_Connection]) -> None:
        self._wire = ServerConnection()
        self._connections = connections
        self._session = store.connect(DOM0, self._watch_fired)
        self._requests: Iterator[Request] = iter(())
        self._transport: asyncio.Transport
        self._full = False  # the client does not read
        self._answering = False
        self._kept: dict[tuple[str, bytes], None] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        if len(self._connections) > CLIENTS_MAX:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._session.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._requests = self._wire.receive(data)
            self._answer()
        except ProtocolError:
            self.abort()

    def pause_writing(self) -> None:
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._send_kept()
        if self._full or self._transport.is_closing():
            return
        self._transport.resume_reading()
        try:
            self._answer()
        except ProtocolError:
            self.abort()

    def abort(self) -> None:
        """Drop the client and everything that was still to be sent to it."""
        self._session.close()
        self._transport.abort()

    def _answer(self) -> None:
        """Answer requests until there are none left or the client must read first."""
        while not self._full and not self._transport.is_closing():
            request = next(self._requests, None)
            if request is None:
                return
            self._answering = True
            try:
                reply = self._wire.reply(request, carry_out(self._session, request))
            except XenStoreError as error:
                reply = self._wire.error(request, error.name)
            finally:
                self._answering = False
            self._transport.write(reply)
            self._send_kept()

    def _watch_fired(self, path: str, token: bytes) -> None:
        """Take an event; those caused by this client's own request are sent after its reply."""
        if self._full or self._answering:
            self._kept[path, token] = None
            if len(self._kept) > EVENTS_KEPT:
                self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(self._wire.watch_event(path, token))

    def _send_kept(self) -> None:
        while self._kept and not self._full:
            path, token = next(iter(self._kept))
            del self._kept[path, token]
            self._transport.write(self._wire.watch_event(path, token))
