"""A small, synchronous XenStore client for the agent, which sends little and waits in poll(2).

It uses the kernel's device (``host/xenstore/transport``, its counterpart on the host, describes the
device's peculiarities) or a Unix socket. A ``Bus`` is one connection. A failed request raises
``XenStoreError``. When the connection becomes unusable (it ended, a reply did not come in time, or
the bytes were not XenStore's protocol) it is closed, and this call and all later ones raise
``XenStoreUnreachable``: its owner has to open another one.

Paths are relative to the guest's own domain. If watches fire while a reply is awaited, their paths
are kept, each once, until ``fired`` is called.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lamplighter.errors import ProtocolError, XenStoreError, XenStoreUnreachable
from lamplighter.guest.clock import milliseconds, now
from lamplighter.guest.config import DEVICES
from lamplighter.xenstore.client import (
    ClientConnection,
    Reply,
    WatchEvent,
    parse_number,
    path_field,
)
from lamplighter.xenstore.wire import ERRORS, Op, op_name

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a reply may take: xenstored answers within milliseconds, or it is gone.
TIMEOUT = 5.0

#: The most bytes of a packet, header included, that the device takes.
DEVICE_MAX = 4096

#: How often a transaction is tried if it conflicts.
TRIES = 50

READ_SIZE = 65536

# An EIO comes from the device, not from XenStore: the device has gone.
_ANSWERS = {number: name for name, number in ERRORS.items() if name != "EIO"}


class Bus:
    """An open connection to XenStore; ``XenStoreUnreachable`` if it cannot be opened."""

    def __init__(
        self, place: str = "", *, patience: float = TIMEOUT, clock: Callable[[], float] = now
    ) -> None:
        self.place = place or find()
        self._patience = patience
        self._clock = clock
        self._wire: ClientConnection[list[Reply]] = ClientConnection()
        self._watched: dict[bytes, str] = {}
        self._fired: set[str] = set()
        self._lost: str | None = None
        self._descriptor = -1  # it does not block
        self._is_device = False
        try:
            if stat.S_ISSOCK(os.stat(self.place).st_mode):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.settimeout(TIMEOUT)
                    connection.connect(self.place)
                    connection.settimeout(0)
                    self._descriptor = connection.detach()
            else:
                flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                self._descriptor, self._is_device = os.open(self.place, flags), True
        except OSError as error:
            hint = "only root may use XenStore" if isinstance(error, PermissionError) else ""
            message = f"{self.place} cannot be opened: {error.strerror}"
            raise XenStoreUnreachable(message, hint=hint) from error

    def fileno(self) -> int:
        """Return the descriptor to poll for watch events; -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Close the connection."""
        self._close("it was closed")

    def read(self, path: str) -> bytes | None:
        """Return a node's value; None if there is no such node."""
        try:
            return self._ask(Op.READ, path_field(path))
        except XenStoreError as error:
            if error.name == "ENOENT":
                return None
            raise

    def write(self, path: str, value: bytes) -> None:
        """Write a node."""
        self._ask(Op.WRITE, path_field(path) + value)

    def remove(self, path: str) -> None:
        """Remove a node, if it exists."""
        try:
            self._ask(Op.RM, path_field(path))
        except XenStoreError as error:
            if error.name != "ENOENT":
                raise

    def watch(self, path: str) -> None:
        """Watch a node: ``fired`` returns its path at once, and whenever it may have changed."""
        token, payload = self._wire.watch(path)
        self._watched[token] = path
        try:
            self._ask(Op.WATCH, payload)
        except XenStoreError:
            self._wire.forget(token)
            del self._watched[token]
            raise

    def clear_if(self, path: str, value: bytes) -> bool:
        """Empty a node if it has exactly this value; return whether this call emptied it.

        In a transaction, so that only one of two callers succeeds.
        """
        return self._if_equal(path, value, Op.WRITE)

    def remove_if(self, path: str, value: bytes) -> bool:
        """Remove a node if it has exactly this value; return whether this call removed it."""
        return self._if_equal(path, value, Op.RM)

    def _if_equal(self, path: str, value: bytes, then: Op) -> bool:
        for _ in range(TRIES):
            transaction = parse_number(self._ask(Op.TRANSACTION_START, b"\0"))
            stands = False
            try:
                stands = self._ask(Op.READ, path_field(path), transaction) == value
                if stands:
                    self._ask(then, path_field(path), transaction)
            except XenStoreError as error:
                self._end(transaction, commit=False)
                if error.name == "ENOENT":
                    return False
                raise
            if self._end(transaction, commit=stands):
                return stands
        raise XenStoreError("EAGAIN", f"{path} changed {TRIES} times in the middle of it")

    def fired(self) -> set[str]:
        """Return the paths of the watches that fired since the last call, without waiting."""
        self._check()
        while self._take():
            pass
        fired, self._fired = self._fired, set()
        return fired

    @property
    def kept(self) -> bool:
        """Whether a watch fired while a reply was awaited; polling may not show that any more."""
        return bool(self._fired)

    def wait(self, until: float) -> set[str]:
        """Return what ``fired`` returns, waiting for a watch to fire until this time at most."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while not (fired := self.fired()) and (left := until - self._clock()) > 0:
            poll.poll(milliseconds(left))
        return fired

    # --- requests ---

    def _end(self, transaction: int, *, commit: bool) -> bool:
        """End a transaction; return False if it conflicted with another one (``EAGAIN``)."""
        try:
            self._ask(Op.TRANSACTION_END, b"T\0" if commit else b"F\0", transaction)
        except XenStoreError as error:
            if error.name == "EAGAIN":
                return False
            raise
        return True

    def _ask(self, op: Op, payload: bytes, transaction: int = 0) -> bytes:
        """Send a request, wait for its reply and return the reply's payload."""
        self._check()
        box: list[Reply] = []
        packet = self._wire.request(op, payload, transaction, box)
        if self._is_device and len(packet) > DEVICE_MAX:
            self._withdraw(packet)
            raise XenStoreError("E2BIG", f"{op_name(op)}: the device takes {DEVICE_MAX} bytes")
        until = self._clock() + self._patience
        sent = 0
        while sent < len(packet):
            rest = packet[sent:]
            try:
                sent += os.write(self._descriptor, rest)
            except BlockingIOError:
                self._await(select.POLLOUT, until, op)
            except OSError as error:
                if sent or not self._is_device or error.errno not in _ANSWERS:
                    raise self._close(error.strerror or "it cannot be written") from error
                self._withdraw(packet)
                name = _ANSWERS[error.errno]
                raise XenStoreError(name, f"XenStore answered {name} to {op_name(op)}") from error
        while not box:
            self._await(select.POLLIN, until, op)
            self._take()
            self._check()
        reply = box[0]
        if reply.error is not None:
            raise XenStoreError(reply.error, f"XenStore answered {reply.error} to {op_name(op)}")
        return reply.payload

    def _withdraw(self, packet: bytes) -> None:
        self._wire.withdraw(int.from_bytes(packet[4:8], sys.byteorder))

    def _await(self, what: int, until: float, op: Op) -> None:
        """Wait for the descriptor; close the connection if that takes too long."""
        poll = select.poll()
        poll.register(self._descriptor, what)
        if not poll.poll(milliseconds(until - self._clock())) and self._clock() >= until:
            raise self._close(f"no reply to {op_name(op)} within {self._patience:g} s")

    def _take(self) -> bool:
        """Process the bytes that have come; return whether there were any."""
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._close(error.strerror or "it cannot be read") from error
        if not data:
            raise self._close("the other end closed it")
        try:
            for thing in self._wire.receive(data):
                if isinstance(thing, WatchEvent):
                    self._fired.add(self._watched[thing.token])
                else:
                    box, reply = thing
                    box.append(reply)
        except ProtocolError as error:
            raise self._close(error.message) from error
        return True

    def _check(self) -> None:
        if self._lost is not None:
            raise self._unreachable()

    def _close(self, reason: str) -> XenStoreUnreachable:
        if self._lost is None:
            self._lost = reason
            os.close(self._descriptor)
            self._descriptor = -1
        return self._unreachable()

    def _unreachable(self) -> XenStoreUnreachable:
        return XenStoreUnreachable(f"the connection to XenStore ({self.place}) ended: {self._lost}")


def find() -> str:
    """Return the path of the XenStore device; ``XenStoreUnreachable`` if there is none."""
    for path in DEVICES:
        if os.path.exists(path):
            return path
    raise XenStoreUnreachable(
        f"XenStore cannot be reached: neither {' nor '.join(DEVICES)} exists",
        hint="this is not a Xen domain, or its kernel has no xenbus device (xenfs)",
    )


def read_or_none(bus: Bus, path: str) -> bytes | None:
    """Return a node's value; None if it does not exist or must not be read."""
    with suppress(XenStoreError):
        return bus.read(path)
    return None
