"""One connection to XenStore, from its opening to its loss; ``client`` holds one at a time.

A request is *posted*: its bytes are sent and a future for its reply is kept, so that sending and
waiting can be apart. A caller cancelled while it waits for the future leaves the request behind:
the reply finds the future cancelled and is dropped. If the server would then hold a transaction or
a watch that nobody uses, another request releases it.

When no other reply is pending, bytes are sent at once and the reply is polled for before control
returns to the loop, which is fastest for one request at a time. Otherwise they are sent together
with all else posted in the same iteration of the loop, which is fastest for many. A reply found by
polling makes ``await`` return without an iteration of the loop, so polling is limited to a few
times per iteration: a task that makes one request after another must not starve the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lamplighter.errors import (
    ProtocolError,
    StoreConflict,
    Unreachable,
    XenStoreError,
    XenStoreUnreachable,
)
from lamplighter.host.xenstore.transport import open_transport
from lamplighter.xenstore.client import (
    PENDING_MAX,
    ClientConnection,
    Reply,
    WatchEvent,
    parse_number,
)
from lamplighter.xenstore.wire import Op, PacketReader, op_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamplighter.host.xenstore.transport import Transport

T = TypeVar("T")

#: How often a reply is polled for in one iteration of the loop: a millisecond at the most.
POLLS_A_TURN = 16

#: A request's future: its reply, or None when the connection ended before one came.
Waiter = asyncio.Future[Reply | None]


@dataclass(eq=False, repr=False, slots=True)
class Watch:
    """A watch: ``fired`` is called in the loop with the path that may have changed."""

    path: str
    fired: Callable[[str], None]
    active: bool = True
    token: bytes = b""

    def fire(self, path: str) -> None:
        """Call ``fired``, unless the watch was removed since."""
        if self.active:
            self.fired(path)


class Link:
    """One connection. ``lost`` is called once when it ends, unless ``close`` ended it."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost: Callable[[], None] | None = lost
        self._client: ClientConnection[Waiter] = ClientConnection()
        self._transport: Transport | None = None
        self._outgoing: list[bytes] = []
        self._backlog: deque[tuple[int, bytes, int, Waiter]] = deque()
        self._backlog_limit = PENDING_MAX
        self._watches: dict[bytes, Watch] = {}
        self._polls = 0
        self._failure: Unreachable | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def alive(self) -> bool:
        """Whether the connection has not ended."""
        return self._failure is None

    async def open(self, path: str) -> None:
        """Connect to the socket or device at ``path``; ``XenStoreUnreachable``."""
        try:
            self._transport = await open_transport(path, self)
        except OSError as error:
            raise XenStoreUnreachable(
                f"XenStore cannot be reached at {path}: {error.strerror or error}",
                hint="only root may speak to XenStore"
                if isinstance(error, PermissionError)
                else "is xenstored (or the embedded host) running?",
            ) from error
        except ValueError as error:
            raise XenStoreUnreachable(
                f"XenStore cannot be reached at {path}: {error}",
                hint="xenstored's socket is /run/xenstored/socket, the device /dev/xen/xenbus",
            ) from error

    def data_received(self, data: bytes) -> None:
        """Pass replies to their waiters and events to their watches; then send what waits."""
        if self._failure is not None:
            return
        try:
            for answer in self._client.receive(data):
                if isinstance(answer, WatchEvent):
                    # In an iteration of its own: the loop reports what a callback raises.
                    self._loop.call_soon(self._watches[answer.token].fire, answer.path)
                else:
                    waiter, reply = answer
                    if not waiter.done():
                        waiter.set_result(reply)
        except ProtocolError as error:
            self._end(error)
        while self._backlog and self._client.pending < PENDING_MAX:
            op, payload, tx_id, waiter = self._backlog.popleft()
            if waiter.done():
                continue
            try:
                self._send(op, payload, tx_id, waiter)
            except XenStoreError as error:  # too long: an error for its waiter only
                waiter.set_result(Reply(b"", error.name))

    def packet_refused(self, packet: bytes, error: str) -> None:
        """Answer a request that the device refused with this error."""
        (request,) = PacketReader().feed(packet)
        waiter = self._client.withdraw(request.req_id)
        if not waiter.done():
            waiter.set_result(Reply(b"", error))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all pending requests."""
        reason = f": {error}" if error else ""
        self._end(XenStoreUnreachable(f"XenStore closed the connection{reason}"))
        self._closed.set_result(None)

    async def close(self) -> None:
        """End the connection and wait until it is gone."""
        self._lost = None
        self._end(XenStoreUnreachable("the connection to XenStore was closed"))
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def _post(self, op: int, payload: bytes, tx_id: int = 0) -> Waiter:
        """Send a request and return the future of its reply, for ``_answer``."""
        self._check()
        waiter: Waiter = self._loop.create_future()
        if self._client.pending < PENDING_MAX:
            self._send(op, payload, tx_id, waiter)
        else:
            self._backlog.append((op, payload, tx_id, waiter))
            if len(self._backlog) > self._backlog_limit:
                # The waiters of many may have gone: a server that hangs must not cost memory.
                self._backlog = deque(entry for entry in self._backlog if not entry[3].done())
                self._backlog_limit = max(PENDING_MAX, 2 * len(self._backlog))
        return waiter

    def _answer(self, reply: Reply | None, op: int, payload: bytes) -> bytes:
        """Return the payload of a reply, or raise its error: ``XenStoreError``, ``Unreachable``."""
        if reply is None:
            self._check()
            raise AssertionError("a reply is None only after the connection has ended")
        if reply.error is None:
            return reply.payload
        if op == Op.TRANSACTION_END and reply.error == "EAGAIN":
            raise StoreConflict
        path = payload.partition(b"\0")[0].decode("ascii")
        raise XenStoreError(reply.error, f"XenStore answered {reply.error} to {op_name(op)} {path}")

    async def call(self, op: int, payload: bytes, tx_id: int = 0) -> bytes:
        """Make a request and return the payload of its reply."""
        return self._answer(await self._post(op, payload, tx_id), op, payload)

    async def ask(self, op: int, payload: bytes, tx_id: int, parse: Callable[[bytes], T]) -> T:
        """Make a request and parse its reply; a malformed reply ends the connection."""
        return self._parsed(await self.call(op, payload, tx_id), parse)

    async def start(self) -> int:
        """Start a transaction and return its id."""
        waiter = self._post(Op.TRANSACTION_START, b"\0")
        try:
            reply = await asyncio.shield(waiter)
        except asyncio.CancelledError:
            waiter.add_done_callback(self._abort_unwanted)
            raise
        return self._transaction(reply)

    async def commit(self, tx_id: int) -> None:
        """Commit a transaction; ``StoreConflict`` when it conflicted with another writer."""
        waiter = self._post(Op.TRANSACTION_END, b"T\0", tx_id)
        self._answer(await waiter, Op.TRANSACTION_END, b"T\0")

    def abort(self, tx_id: int) -> None:
        """Abort a transaction, without waiting for the reply."""
        if self._failure is None:
            self._post(Op.TRANSACTION_END, b"F\0", tx_id)

    async def register(self, watches: Iterable[Watch]) -> None:
        """Register watches; they may fire before this returns."""
        posted: list[tuple[Watch, Waiter]] = []
        try:
            for watch in watches:
                if watch.active:
                    self._check()
                    watch.token, payload = self._client.watch(watch.path)
                    self._watches[watch.token] = watch
                    posted.append((watch, self._post(Op.WATCH, payload)))
            for watch, waiter in posted:
                try:
                    self._answer(await waiter, Op.WATCH, watch.path.encode())
                except XenStoreError:
                    self._client.forget(watch.token)
                    self._watches.pop(watch.token, None)
                    raise
        except asyncio.CancelledError:
            for watch, _ in posted:
                self._post_unwatch(watch)
            raise

    async def unregister(self, watch: Watch) -> None:
        """Remove a watch. The end of the connection meanwhile removes it as well."""
        waiter = self._post_unwatch(watch)
        if waiter is not None:
            reply = await waiter
            if reply is not None and reply.error != "ENOENT":
                self._answer(reply, Op.UNWATCH, watch.path.encode())

    def forget_watches(self) -> None:
        """Forget all watches; the caller has the server drop them."""
        for token in self._watches:
            self._client.forget(token)
        self._watches.clear()

    def _post_unwatch(self, watch: Watch) -> Waiter | None:
        if self._failure is not None or self._watches.get(watch.token) is not watch:
            return None
        del self._watches[watch.token]
        return self._post(Op.UNWATCH, self._client.unwatch(watch.token))

    def _send(self, op: int, payload: bytes, tx_id: int, waiter: Waiter) -> None:
        assert self._transport is not None
        others = self._client.pending
        packet = self._client.request(op, payload, tx_id, waiter)
        if not others:
            self._transport.write([packet])
            if not self._polls:
                self._loop.call_soon(self._next_turn)
            if self._polls < POLLS_A_TURN:
                self._polls += 1
                self._transport.poll_reply()
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(packet)

    def _next_turn(self) -> None:
        self._polls = 0

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None:
            packets, self._outgoing = self._outgoing, []
            self._transport.write(packets)

    def _check(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(self._failure.message, hint=self._failure.hint)

    def _parsed(self, payload: bytes, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(payload)
        except ProtocolError as error:
            self._end(error)
            raise

    def _transaction(self, reply: Reply | None) -> int:
        payload = self._answer(reply, Op.TRANSACTION_START, b"")
        return self._parsed(payload, parse_number)

    def _abort_unwanted(self, waiter: Waiter) -> None:
        """Abort a transaction whose start was cancelled while its reply was pending."""
        try:
            self.abort(self._transaction(waiter.result()))
        except (XenStoreError, Unreachable):
            return  # no transaction was started

    def _end(self, error: Unreachable) -> None:
        """Fail all pending requests; nothing more is sent or received."""
        if self._failure is not None:
            return
        self._failure = error
        if self._transport is not None:
            self._transport.abort()
        self._outgoing.clear()
        for waiter in [*self._client.waiters(), *(request[3] for request in self._backlog)]:
            if not waiter.done():
                waiter.set_result(None)
        self._backlog.clear()
        if self._lost is not None:
            self._lost()
