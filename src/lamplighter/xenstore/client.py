"""The client side of the XenStore protocol: requests out, replies and watch events in.

Requests are pipelined and their replies matched by request id, so ``request`` is given a
*waiter*, any object of the caller's, which is returned with the reply. A caller that gives up on a
request must ignore its reply itself: the request stays pending here until the reply has come,
because the server will send it in any case and the request id is not free before.

Each of these ends the connection with a ``ProtocolError`` that names it: a packet longer than
allowed, a reply without a request, a reply of another type than its request, a malformed error or
event, an event of a watch that never existed. An event of a removed watch is not an error: it may
have been on its way when the watch was removed. Tokens are never reused, so such an event is
recognised and dropped.

Memory is bounded: callers must wait while ``PENDING_MAX`` requests are ``pending``, and of the
incoming bytes only the beginning of one packet is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from lamplighter.errors import ProtocolError, XenStoreError
from lamplighter.xenstore import paths, permissions
from lamplighter.xenstore.wire import ID_MAX, PAYLOAD_MAX, Op, PacketReader, encode, op_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamplighter.xenstore.permissions import Permission
    from lamplighter.xenstore.wire import Packet

W = TypeVar("W")

#: The most requests that may wait for their replies on one connection.
PENDING_MAX = 4096

_ERROR_NAME = rb"(E[A-Z0-9]{1,30})\0"
_WATCH_EVENT = int(Op.WATCH_EVENT)
_ERROR = int(Op.ERROR)


class Reply(NamedTuple):
    """The answer to a request.

    ``error`` is the error's name, None on success; then ``payload`` is the payload of the
    reply. An error's name need not be one of ``wire.ERRORS``: oxenstored has others.
    """

    payload: bytes
    error: str | None = None


class WatchEvent(NamedTuple):
    """A watch fired: the path that may have changed and the token of the watch."""

    path: str
    token: bytes


class ClientConnection(Generic[W]):
    """The client side of one connection."""

    def __init__(self, first_request_id: int = 1) -> None:
        self._reader = PacketReader()
        self._pending: dict[int, tuple[int, W]] = {}
        self._next_id = first_request_id
        self._watched: dict[bytes, str] = {}
        self._tokens = 0
        self._failure: ProtocolError | None = None

    @property
    def pending(self) -> int:
        """How many requests wait for their replies; see ``PENDING_MAX``."""
        return len(self._pending)

    def request(self, op: int, payload: bytes, tx_id: int, waiter: W) -> bytes:
        """Return the bytes of a request; ``XenStoreError`` E2BIG when the payload is too long."""
        if len(payload) > PAYLOAD_MAX:
            raise XenStoreError(
                "E2BIG", f"{op_name(op)} with {len(payload)} bytes, XenStore takes {PAYLOAD_MAX}"
            )
        req_id = self._next_id
        while req_id in self._pending:  # the ids wrapped around while an old request still waits
            req_id = (req_id + 1) & ID_MAX
        self._next_id = (req_id + 1) & ID_MAX
        self._pending[req_id] = (op, waiter)
        return encode(op, req_id, tx_id, payload)

    def watch(self, path: str) -> tuple[bytes, bytes]:
        """Return a new watch's token and the payload of the request for it.

        Events may come before the reply, so they are expected from now on. If the request fails,
        the caller calls ``forget``.
        """
        token = b"%d" % self._tokens
        payload = path_field(path) + token + b"\0"
        self._tokens += 1
        self._watched[token] = path
        return token, payload

    def unwatch(self, token: bytes) -> bytes:
        """Return the payload of the request that removes a watch; later events are dropped."""
        return path_field(self._watched.pop(token)) + token + b"\0"

    def forget(self, token: bytes) -> None:
        """Expect no more events of a watch that the server does not have, or no longer has."""
        self._watched.pop(token, None)

    def waiters(self) -> list[W]:
        """Return and forget the waiters of all pending requests, after the connection has ended."""
        waiters = [waiter for _, waiter in self._pending.values()]
        self._pending.clear()
        return waiters

    def withdraw(self, req_id: int) -> W:
        """Return the waiter of a request that could not be sent; no reply will come."""
        return self._pending.pop(req_id)[1]

    def receive(self, data: bytes) -> Iterator[tuple[W, Reply] | WatchEvent]:
        """Take bytes; return an iterator over the replies (with waiters) and events they complete.

        It raises ``ProtocolError`` at the first bad packet, and so does every later call.
        """
        if self._failure is not None:
            raise self._failure
        return self._answers(self._reader.feed(data))

    def _answers(self, packets: Iterator[Packet]) -> Iterator[tuple[W, Reply] | WatchEvent]:
        try:
            for op, req_id, _, payload in packets:
                if op == _WATCH_EVENT:
                    event = parse_event(payload)
                    token = event.token
                    if token in self._watched:
                        yield event
                    elif not (len(token) <= 20 and token.isdigit() and int(token) < self._tokens):
                        raise ProtocolError(
                            f"XenStore sent an event of a watch that never was: token {token!r}"
                        )
                    # Else the watch was removed while this event was on its way.
                    continue
                request = self._pending.get(req_id)
                if request is None:
                    raise ProtocolError(
                        f"XenStore sent a reply nobody asked for: {op_name(op)} to id {req_id}"
                    )
                requested_op, waiter = request
                if op == requested_op:
                    reply = Reply(payload)
                elif op == _ERROR:
                    reply = Reply(b"", parse_error(payload))
                else:
                    raise ProtocolError(
                        f"XenStore answered a {op_name(requested_op)} (request id {req_id}) with "
                        f"{op_name(op)}"
                    )
                del self._pending[req_id]
                yield waiter, reply
        except ProtocolError as error:
            self._failure = error
            raise


def parse_event(payload: bytes) -> WatchEvent:
    """Parse an event's payload: path and token, each terminated by a zero byte."""
    path, *tokens = payload.split(b"\0")
    if len(tokens) != 2 or tokens[1] or not path.isascii():
        raise _malformed("watch event", payload)
    return WatchEvent(path.decode("ascii"), tokens[0])


def parse_error(payload: bytes) -> str:
    """Parse an error's name."""
    match = re.fullmatch(_ERROR_NAME, payload)
    if match is None:
        raise _malformed("error", payload)
    return match[1].decode("ascii")


def parse_names(payload: bytes) -> list[str]:
    """Parse a list of names (or permissions), each terminated by a zero byte."""
    if not payload:
        return []
    if not (payload.endswith(b"\0") and payload.isascii()):
        raise _malformed("list of names", payload)
    return payload[:-1].decode("ascii").split("\0")


def parse_text(payload: bytes) -> str:
    """Parse one text, such as a path, terminated by a zero byte."""
    names = parse_names(payload)
    if len(names) != 1:
        raise _malformed("text", payload)
    return names[0]


def parse_number(payload: bytes) -> int:
    """Parse a decimal number, such as a transaction id, terminated by a zero byte."""
    digits = payload[:-1]
    if not (payload.endswith(b"\0") and digits.isdigit() and len(digits) <= 20):
        raise _malformed("number", payload)
    return int(digits)


def parse_flag(payload: bytes) -> bool:
    """Parse ``T`` or ``F``."""
    if payload not in (b"T\0", b"F\0"):
        raise _malformed("T or F", payload)
    return payload == b"T\0"


def parse_part(payload: bytes) -> tuple[int, bytes, bool]:
    """Parse part of a directory: the node's generation, the names' bytes, and if it is the last."""
    generation, found, names = payload.partition(b"\0")
    if not (found and names.endswith(b"\0") and names.isascii()):
        raise _malformed("part of a directory", payload)
    last = names == b"\0" or names.endswith(b"\0\0")
    return parse_number(generation + b"\0"), names[:-1] if last else names, last


def parse_permissions(payload: bytes) -> list[Permission]:
    """Parse a node's permissions."""
    try:
        return [permissions.parse(text) for text in parse_names(payload)]
    except ValueError:
        raise _malformed("list of permissions", payload) from None


def path_field(path: str) -> bytes:
    """Return a path as a request's field; ``XenStoreError`` EINVAL says what is wrong with it."""
    if fault := paths.fault(path, special=True):
        raise XenStoreError("EINVAL", f"{path[:80]!r} is not a XenStore path: {fault}")
    return path.encode("ascii") + b"\0"


def _malformed(what: str, payload: bytes) -> ProtocolError:
    return ProtocolError(
        f"XenStore sent a malformed {what}: {payload[:40]!r} ({len(payload)} bytes)"
    )
