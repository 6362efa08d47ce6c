"""XenStore packets, as defined in xen/include/public/io/xs_wire.h.

A packet is a header of four 32-bit numbers in the machine's native byte order (both ends always
run on the same machine) and a payload of at most 4096 bytes. The meaning of the payload depends on
the type and is handled by ``client`` and ``server``; here it is bytes.

``PacketReader`` takes bytes as they arrive and returns whole packets. It keeps at most one
incomplete packet: a length beyond the limit is refused as soon as the header has arrived, before
any byte of the payload is kept.
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The longest payload, in bytes (``XENSTORE_PAYLOAD_MAX``).
PAYLOAD_MAX = 4096

#: Request and transaction ids are unsigned 32-bit numbers.
ID_MAX = 2**32 - 1

_HEADER = struct.Struct("=IIII")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from

#: The size of a packet's header: type, request id, transaction id, length of the payload.
HEADER_SIZE = _HEADER.size


class Op(IntEnum):
    """The type of a packet (``enum xsd_sockmsg_type``); 20 was XS_RESTRICT, which was removed."""

    CONTROL = 0
    DIRECTORY = 1
    READ = 2
    GET_PERMS = 3
    WATCH = 4
    UNWATCH = 5
    TRANSACTION_START = 6
    TRANSACTION_END = 7
    INTRODUCE = 8
    RELEASE = 9
    GET_DOMAIN_PATH = 10
    WRITE = 11
    MKDIR = 12
    RM = 13
    SET_PERMS = 14
    WATCH_EVENT = 15
    ERROR = 16
    IS_DOMAIN_INTRODUCED = 17
    RESUME = 18
    SET_TARGET = 19
    RESET_WATCHES = 21
    DIRECTORY_PART = 22
    GET_FEATURE = 23
    SET_FEATURE = 24
    GET_QUOTA = 25
    SET_QUOTA = 26


#: Every error name of XenStore (``xsd_errors``), with its number on this machine.
ERRORS: dict[str, int] = {
    name: getattr(errno, name)
    for name in (
        "EINVAL",
        "EACCES",
        "EEXIST",
        "EISDIR",
        "ENOENT",
        "ENOMEM",
        "ENOSPC",
        "EIO",
        "ENOTEMPTY",
        "ENOSYS",
        "EROFS",
        "EBUSY",
        "EAGAIN",
        "EISCONN",
        "E2BIG",
        "EPERM",
    )
}


class Packet(NamedTuple):
    """One packet. ``op`` is the number on the wire, which may be unknown to ``Op``."""

    op: int
    req_id: int
    tx_id: int
    payload: bytes


def op_name(number: int) -> str:
    """Return the name of a packet type for use in messages: ``READ``, or ``type 77``."""
    try:
        return Op(number).name
    except ValueError:
        return f"type {number}"


def encode(op: int, req_id: int, tx_id: int, payload: bytes) -> bytes:
    """Return a packet's bytes. The caller must make sure that the payload is within the limit."""
    return _pack_header(op, req_id, tx_id, len(payload)) + payload


class PacketReader:
    """Turns a stream of bytes, in chunks of any size, into packets."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._failure: ProtocolError | None = None

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete packet are kept."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take bytes and return an iterator over the packets they complete, in order.

        Packets not taken from it are returned by the next iterator. It raises ``ProtocolError`` at
        the first bad packet, after returning those before it. Later bytes have no meaning, and
        every further call raises the same error.
        """
        if self._failure is not None:
            raise self._failure
        self._data = self._data[self._at :] + data if self.pending else data
        self._at = 0
        return self._packets()

    def _packets(self) -> Iterator[Packet]:
        while len(self._data) - self._at >= HEADER_SIZE:
            op, req_id, tx_id, length = _unpack_header(self._data, self._at)
            if length > PAYLOAD_MAX:
                self._failure = ProtocolError(
                    f"a XenStore packet ({op_name(op)}, request id {req_id}) announces "
                    f"{length} bytes, the limit is {PAYLOAD_MAX}"
                )
                self._data, self._at = b"", 0
                raise self._failure
            start = self._at + HEADER_SIZE
            if len(self._data) < start + length:
                return
            self._at = start + length
            yield Packet(op, req_id, tx_id, self._data[start : self._at])
