"""The embedded host's control socket, for the toolstack driver: one JSON document per line.

    {"call": "create", "path": "/srv/host/domains/web.cfg"}
    {"ok": {"domid": 3}}
    {"call": "destroy", "domid": 99}
    {"error": {"code": "no-domain", "message": "there is no domain 99", "hint": ""}}

The calls of one connection are carried out one after another; connections do not wait for each
other. A call that has begun is carried out even when its caller goes away, like a program that
nobody waits for. Input is bounded and checked: lines that are too long or too many end the
connection, and any other error is answered with a message that says what was expected. Nothing
more is read from a caller that does not read its answers.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

from lamplighter.errors import CallFailed, LamplighterError
from lamplighter.host.unix_socket import listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from lamplighter.model.clock import Clock

#: The longest line that is read, in bytes, and how many lines of one connection may wait.
LINE_MAX = 64 * 1024
LINES_MAX = 64

#: How many connections are served at the same time; a further one is closed at once.
CONNECTIONS_MAX = 500

#: How many host seconds ``close`` waits for callers to read their answers, and between checks.
GRACE = 1.0
GLANCE = 0.01


class BadRequest(CallFailed):
    """A request is not a valid call; the message says what was expected."""

    code = "bad-request"


class ControlServer:
    """Reads requests, passes each to ``answer`` and sends what that returns or raises."""

    def __init__(
        self, path: Path, clock: Clock, answer: Callable[[object], Awaitable[object]]
    ) -> None:
        self._path = path
        self._clock = clock
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Open the socket, replacing a stale one."""
        self._server = await listen(
            self._path, lambda: _Connection(self._answer, self._connections)
        )

    async def close(self) -> None:
        """Close the socket, and every connection once the answers written to it are sent."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for connection in tuple(self._connections):
            connection.close()
        try:
            async with self._clock.timeout(GRACE):
                while self._connections:
                    await self._clock.sleep(GLANCE)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()


class _Connection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(
        self, answer: Callable[[object], Awaitable[object]], connections: set[_Connection]
    ) -> None:
        self._answer = answer
        self._connections = connections
        self._lines: deque[bytes] = deque()
        self._incomplete = b""
        self._worker: asyncio.Task[None] | None = None
        self._caller_reads = asyncio.Event()
        self._caller_reads.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        if len(self._connections) > CONNECTIONS_MAX:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        self._lines.extend(lines)
        too_long = any(len(line) > LINE_MAX for line in (*lines, self._incomplete))
        if too_long or len(self._lines) > LINES_MAX:
            error = BadRequest(f"expected lines of up to {LINE_MAX} bytes, {LINES_MAX} at a time")
            self._send(_error_document(error))
            self.close()
        elif self._lines and self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._worked)

    def pause_writing(self) -> None:
        self._caller_reads.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._caller_reads.set()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._worker is not None:
            self._worker.cancel()

    def close(self) -> None:
        """Answer no further calls, and hang up once pending output is sent."""
        self._lines.clear()
        self._transport.close()
        if self._worker is not None:
            self._worker.cancel()

    def abort(self) -> None:
        """Hang up at once and drop pending output."""
        self._transport.abort()

    def _worked(self, worker: asyncio.Task[None]) -> None:
        """Hang up after a defect of ours, so that the caller does not wait for an answer."""
        if not worker.cancelled() and worker.exception() is not None:
            self._transport.abort()

    async def _work(self) -> None:
        """Answer the lines that have come, one after another."""
        while self._lines:
            await self._caller_reads.wait()
            line = self._lines.popleft()
            try:
                try:
                    request = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BadRequest(f"expected a JSON document: {error}") from error
                self._send({"ok": await self._answer(request)})
            except LamplighterError as error:
                self._send(_error_document(error))
        self._worker = None

    def _send(self, document: object) -> None:
        if not self._transport.is_closing():
            self._transport.write(json.dumps(document).encode() + b"\n")


def _error_document(error: LamplighterError) -> object:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
