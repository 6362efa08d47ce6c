"""A small XenStore on a Unix socket for the client's tests: values, watches, and a script.

It does what it is told and nothing cleverly: no permissions, no quotas, and a transaction only
fails when the test says so. ``hold`` keeps replies back, ``drop`` closes all connections, and
``rules`` overrides the answer to a kind of request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from lamplighter.errors import ProtocolError
from lamplighter.xenstore.server import ServerConnection, directory_part, names_payload
from lamplighter.xenstore.wire import Op

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamplighter.xenstore.server import Request


class SmallStore:
    """The store and its listening socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, bytes] = {}
        self.permissions: dict[str, list[str]] = {}
        self.connections: list[Connection] = []
        self.rules: dict[int, Callable[[Connection, Request], bytes | None]] = {}
        self.seen: Counter[str] = Counter()
        self.conflicts = 0  # how many commits to refuse
        self.broken: list[ProtocolError] = []
        self.transactions = 0
        self.accepting = True
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> SmallStore:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def listen(self) -> None:
        """Open the socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), str(self.path))

    def stop(self) -> None:
        """Close the socket and every connection, as a daemon that is killed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        self.path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Close every connection."""
        for connection in tuple(self.connections):
            connection.transport.abort()

    def set(self, path: str, value: bytes) -> None:
        """Write a value as somebody else would."""
        self.values[path] = value
        for connection in self.connections:
            connection.fire(path)

    def children(self, path: str) -> list[str]:
        """Return the names below a node."""
        below = path.rstrip("/") + "/"
        return sorted({p[len(below) :].split("/")[0] for p in self.values if p.startswith(below)})


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, store: SmallStore) -> None:
        self.store = store
        self.wire = ServerConnection()
        self.watches: list[tuple[str, bytes]] = []
        self.transactions: set[int] = set()
        self.held: list[bytes] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.store.connections.append(self)
        if not self.store.accepting:
            transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.store.connections.remove(self)

    def data_received(self, data: bytes) -> None:
        try:
            for request in self.wire.receive(data):
                self.store.seen[Op(request.op).name] += 1
                self.send(self.answer(request))
                if request.op == Op.WATCH:
                    self.send(self.wire.watch_event(request.path, request.token))
        except ProtocolError as error:
            self.store.broken.append(error)
            self.transport.abort()

    def send(self, data: bytes) -> None:
        """Send, or keep it while replies are held back."""
        if self.held is not None:
            self.held.append(data)
        else:
            self.transport.write(data)

    def hold(self) -> None:
        """Keep replies back."""
        self.held = []

    def release(self) -> None:
        """Send what was kept back."""
        held, self.held = self.held, None
        self.transport.write(b"".join(held or []))

    def fire(self, path: str) -> None:
        """Tell of a change."""
        for watched, token in self.watches:
            if path == watched or path.startswith(watched + "/"):
                self.send(self.wire.watch_event(path, token))

    def answer(self, request: Request) -> bytes:
        """Return the answer's bytes."""
        rule = self.store.rules.get(request.op)
        if rule is not None:
            answer = rule(self, request)
            if answer is not None:
                return answer
        if request.error:
            return self.wire.error(request, request.error)
        handler = getattr(self, Op(request.op).name.lower())
        try:
            payload = handler(request)
        except KeyError:
            return self.wire.error(request, "ENOENT")
        return payload if request.op == Op.TRANSACTION_END else self.wire.reply(request, payload)

    def read(self, request: Request) -> bytes:
        return self.store.values[request.path]

    def write(self, request: Request) -> bytes:
        self.store.set(request.path, request.value)
        return b"OK\0"

    def mkdir(self, request: Request) -> bytes:
        self.store.values.setdefault(request.path, b"")
        return b"OK\0"

    def rm(self, request: Request) -> bytes:
        for path in [p for p in self.store.values if (p + "/").startswith(request.path + "/")]:
            del self.store.values[path]
        return b"OK\0"

    def directory(self, request: Request) -> bytes:
        return names_payload(self.store.children(request.path))

    def directory_part(self, request: Request) -> bytes:
        part = directory_part(7, self.store.children(request.path), request.offset)
        assert part is not None
        return part

    def get_perms(self, request: Request) -> bytes:
        return names_payload(self.store.permissions.get(request.path, ["n0"]))

    def set_perms(self, request: Request) -> bytes:
        self.store.permissions[request.path] = [str(p) for p in request.permissions]
        return b"OK\0"

    def watch(self, request: Request) -> bytes:
        self.watches.append((request.path, request.token))
        return b"OK\0"

    def unwatch(self, request: Request) -> bytes:
        try:
            self.watches.remove((request.path, request.token))
        except ValueError:
            raise KeyError(request.path) from None
        return b"OK\0"

    def reset_watches(self, _: Request) -> bytes:
        self.watches.clear()
        return b"OK\0"

    def transaction_start(self, _: Request) -> bytes:
        self.store.transactions += 1
        self.transactions.add(self.store.transactions)
        return b"%d\0" % self.store.transactions

    def transaction_end(self, request: Request) -> bytes:
        self.transactions.remove(request.tx_id)
        if request.commit and self.store.conflicts:
            self.store.conflicts -= 1
            return self.wire.error(request, "EAGAIN")
        return self.wire.reply(request)

    def get_domain_path(self, request: Request) -> bytes:
        return b"/local/domain/%d\0" % request.domid

    def is_domain_introduced(self, request: Request) -> bytes:
        return b"T\0" if f"/local/domain/{request.domid}" in self.store.values else b"F\0"
