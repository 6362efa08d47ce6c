"""The server side of the XenStore protocol: requests in, replies and watch events out.

``ServerConnection`` turns bytes into ``Request``s whose payloads are already parsed and checked for
form, and turns answers into bytes. It knows nothing about nodes, transactions or watches: those
belong to the store. Clients are not trusted, so only one thing a client can send raises an error: a
packet longer than the protocol allows (``ProtocolError``). After it the stream has no meaning and
the connection must be closed, as xenstored does. A request of unknown type or with a malformed
payload is returned with ``error`` set, and must be answered with that error.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.xenstore import paths, permissions
from lamplighter.xenstore.wire import ERRORS, PAYLOAD_MAX, Op, Packet, PacketReader, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lamplighter.xenstore.permissions import Permission

#: The payload of a reply that only reports success.
DONE = b"OK\0"


class Request(NamedTuple):
    """One parsed request. Which fields are used depends on ``op``.

    ``path`` is as the client sent it, maybe relative (``paths.absolute``); its form was checked,
    and it names a special watch only where one is allowed (watches and permissions). ``value`` is
    what to write; ``token`` is a watch's. ``domid`` is the first number of INTRODUCE, RELEASE,
    GET_DOMAIN_PATH, IS_DOMAIN_INTRODUCED, RESUME and SET_TARGET. ``offset`` belongs to
    DIRECTORY_PART, ``commit`` to TRANSACTION_END. ``arguments`` are all fields of a payload of
    numbers or of CONTROL. When ``error`` is set, the request must be answered with that error.
    """

    op: int
    req_id: int
    tx_id: int
    path: str = ""
    value: bytes = b""
    token: bytes = b""
    domid: int = 0
    offset: int = 0
    commit: bool = False
    permissions: tuple[Permission, ...] = ()
    arguments: tuple[bytes, ...] = ()
    error: str | None = None


class ServerConnection:
    """The server side of one client's connection."""

    def __init__(self) -> None:
        self._reader = PacketReader()

    def receive(self, data: bytes) -> Iterator[Request]:
        """Take bytes and return an iterator over the requests they complete.

        Requests not taken from it are returned by the next iterator. It raises ``ProtocolError``
        after the last good request when the stream is broken.
        """
        return map(parse, self._reader.feed(data))

    def reply(self, request: Request, payload: bytes = DONE) -> bytes:
        """Answer a request; a payload over the limit becomes the error E2BIG, as in xenstored."""
        if len(payload) > PAYLOAD_MAX:
            return self.error(request, "E2BIG")
        return encode(request.op, request.req_id, request.tx_id, payload)

    def error(self, request: Request, name: str) -> bytes:
        """Answer a request with an error's name, which must be one of ``wire.ERRORS``."""
        if name not in ERRORS:
            raise ValueError(f"{name!r} is not the name of a XenStore error")
        return encode(Op.ERROR, request.req_id, request.tx_id, name.encode() + b"\0")

    def watch_event(self, path: str, token: bytes) -> bytes:
        """Return a watch event; empty when it is too long, which xenstored drops, too."""
        payload = path.encode() + b"\0" + token + b"\0"
        return encode(Op.WATCH_EVENT, 0, 0, payload) if len(payload) <= PAYLOAD_MAX else b""


def names_payload(names: Sequence[str]) -> bytes:
    """Return the payload of a list of names or permissions, each terminated by a zero byte."""
    return "".join(f"{name}\0" for name in names).encode()


def directory_part(generation: int, names: Sequence[str], offset: int) -> bytes | None:
    """Return DIRECTORY_PART's payload: the node's generation and as many names as fit.

    ``offset`` counts bytes of the whole list of names. The last part ends in an empty name.
    None when the offset is beyond the end of the list or within a name: the answer is EINVAL.
    """
    listed = names_payload(names)
    head = b"%d\0" % generation
    if offset > len(listed) or (offset and listed[offset - 1] != 0):
        return None
    room = PAYLOAD_MAX - len(head) - 1
    if len(listed) - offset <= room:
        return head + listed[offset:] + b"\0"
    return head + listed[offset : listed.rindex(b"\0", offset, offset + room) + 1]


def parse(packet: Packet) -> Request:
    """Parse a request's payload. Never raises; ``Request.error`` is the error to answer with."""
    parser = _PARSERS.get(packet.op)
    if parser is None:
        return Request(packet.op, packet.req_id, packet.tx_id, error="ENOSYS")
    try:
        return parser(packet)
    except ValueError:  # includes UnicodeDecodeError
        return Request(packet.op, packet.req_id, packet.tx_id, error="EINVAL")


def _fields(packet: Packet, least: int, most: int) -> list[bytes]:
    """Split a payload into fields that are each terminated by a zero byte."""
    *fields, rest = packet.payload.split(b"\0")
    if rest or not least <= len(fields) <= most:
        raise ValueError("wrong number of fields")
    return fields


def _path(field: bytes, *, special: bool = False) -> str:
    path = field.decode("ascii")
    if fault := paths.fault(path, special=special):
        raise ValueError(fault)
    return path


def _number(field: bytes) -> int:
    if not field.isdigit() or len(field) > 20:
        raise ValueError("not a number")
    return int(field)


def _one_path(packet: Packet) -> Request:
    (field,) = _fields(packet, 1, 1)
    return Request(packet.op, packet.req_id, packet.tx_id, _path(field))


def _write(packet: Packet) -> Request:
    field, found, value = packet.payload.partition(b"\0")
    if not found:
        raise ValueError("no zero byte behind the path")
    return Request(packet.op, packet.req_id, packet.tx_id, _path(field), value)


def _watch(packet: Packet) -> Request:
    field, token = _fields(packet, 2, 2)
    path = _path(field, special=True)
    return Request(packet.op, packet.req_id, packet.tx_id, path, token=token)


def _permissions(packet: Packet) -> Request:
    """Parse a path, which may be special, and for SET_PERMS the new permissions."""
    least, most = (1, 1) if packet.op == Op.GET_PERMS else (2, PAYLOAD_MAX)
    field, *texts = _fields(packet, least, most)
    path = _path(field, special=True)
    granted = tuple(permissions.parse(text.decode("ascii")) for text in texts)
    return Request(packet.op, packet.req_id, packet.tx_id, path, permissions=granted)


def _directory_part(packet: Packet) -> Request:
    field, offset = _fields(packet, 2, 2)
    path = _path(field)
    return Request(packet.op, packet.req_id, packet.tx_id, path, offset=_number(offset))


def _transaction_end(packet: Packet) -> Request:
    (field,) = _fields(packet, 1, 1)
    if field not in (b"T", b"F"):
        raise ValueError("neither T nor F")
    return Request(packet.op, packet.req_id, packet.tx_id, commit=field == b"T")


def _domains(packet: Packet, *, count: int = 1) -> Request:
    """Parse a domid and further numbers, ``count`` fields in all."""
    fields = tuple(_fields(packet, count, count))
    for field in fields[1:]:
        _number(field)
    domid = permissions.parse_domid(fields[0].decode("ascii"))
    return Request(packet.op, packet.req_id, packet.tx_id, domid=domid, arguments=fields)


def _control(packet: Packet) -> Request:
    arguments = tuple(_fields(packet, 1, PAYLOAD_MAX))
    return Request(packet.op, packet.req_id, packet.tx_id, arguments=arguments)


def _bare(packet: Packet) -> Request:
    return Request(packet.op, packet.req_id, packet.tx_id)


#: The parser of each type of request. Types missing here are answered with ENOSYS: those that only
#: a server sends (WATCH_EVENT, ERROR), and those added after Xen 4.20 (features, quotas).
_PARSERS: dict[int, Callable[[Packet], Request]] = {
    Op.CONTROL: _control,
    Op.DIRECTORY: _one_path,
    Op.READ: _one_path,
    Op.GET_PERMS: _permissions,
    Op.WATCH: _watch,
    Op.UNWATCH: _watch,
    Op.TRANSACTION_START: _bare,
    Op.TRANSACTION_END: _transaction_end,
    Op.INTRODUCE: partial(_domains, count=3),
    Op.RELEASE: _domains,
    Op.GET_DOMAIN_PATH: _domains,
    Op.WRITE: _write,
    Op.MKDIR: _one_path,
    Op.RM: _one_path,
    Op.SET_PERMS: _permissions,
    Op.IS_DOMAIN_INTRODUCED: _domains,
    Op.RESUME: _domains,
    Op.SET_TARGET: partial(_domains, count=2),
    Op.RESET_WATCHES: _bare,
    Op.DIRECTORY_PART: _directory_part,
}
