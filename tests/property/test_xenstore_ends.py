"""Both ends of XenStore's protocol, fed with anything.

Whatever bytes come, cut wherever: an end gives packets or raises ``ProtocolError``, nothing else,
says the same however they were cut, and keeps no more than one packet.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.errors import ProtocolError, XenStoreError
from lamplighter.xenstore import client, paths, permissions
from lamplighter.xenstore.client import ClientConnection, Reply, WatchEvent
from lamplighter.xenstore.permissions import Access, Permission
from lamplighter.xenstore.server import (
    Request,
    ServerConnection,
    directory_part,
    names_payload,
    parse,
)
from lamplighter.xenstore.wire import (
    ERRORS,
    HEADER_SIZE,
    PAYLOAD_MAX,
    Op,
    Packet,
    PacketReader,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT_MAX = HEADER_SIZE + PAYLOAD_MAX

numbers = st.integers(0, 2**32 - 1)
ops = st.sampled_from([int(op) for op in Op]) | numbers
payloads = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"/a", b"T", b"7", b"n0", b"0", b"@releaseDomain", b"/a/", b"\xff", b"ENOENT"])
).map(lambda fields: b"".join(field + b"\0" for field in fields))
packets = st.builds(Packet, ops, st.integers(0, 4), st.integers(0, 3), payloads)
# Mostly packets, sometimes something else.
streams = st.lists(
    packets.map(lambda packet: encode(*packet))
    | st.binary(max_size=40)
    | st.builds(struct.pack, st.just("=IIII"), ops, numbers, numbers, numbers),
    max_size=12,
).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=20)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at the places that are within it."""
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def drain(
    feed: Callable[[bytes], Iterator[Any]], chunks: list[bytes]
) -> tuple[list[Any], str | None]:
    """Return everything an end gives for the chunks, and the protocol error that ended it."""
    given: list[Any] = []
    try:
        for chunk in chunks:
            given.extend(feed(chunk))
    except ProtocolError as error:
        return given, error.message
    return given, None


@given(streams, cuts)
def test_how_bytes_are_cut_makes_no_difference(data: bytes, places: list[int]) -> None:
    whole, by_bytes, in_pieces = PacketReader(), PacketReader(), PacketReader()
    answer = drain(whole.feed, [data])
    assert drain(in_pieces.feed, cut(data, places)) == answer
    assert drain(by_bytes.feed, [bytes([byte]) for byte in data]) == answer
    assert whole.pending == in_pieces.pending == by_bytes.pending < KEPT_MAX


@given(st.lists(packets, max_size=10), cuts)
def test_packets_survive_the_wire(sent: list[Packet], places: list[int]) -> None:
    data = b"".join(encode(*packet) for packet in sent)
    assert drain(PacketReader().feed, cut(data, places)) == (sent, None)


@given(streams, cuts)
def test_the_server_answers_whatever_comes(data: bytes, places: list[int]) -> None:
    server = ServerConnection()
    requests, error = drain(server.receive, cut(data, places))
    assert requests == drain(ServerConnection().receive, [data])[0]
    for request in requests:
        assert isinstance(request, Request)
        assert request.error in (None, "EINVAL", "ENOSYS")
        bad = request.error is not None
        answer = server.error(request, str(request.error)) if bad else server.reply(request)
        (reply,) = PacketReader().feed(answer)
        assert reply.req_id == request.req_id
        if not bad and request.path:
            assert paths.fault(request.path, special=True) is None
    if error is not None:
        again = drain(server.receive, [b"", data])
        assert again == ([], error)


@given(streams, cuts, st.integers(0, 4))
def test_the_client_names_what_is_wrong(data: bytes, places: list[int], asked: int) -> None:
    connection: ClientConnection[int] = ClientConnection(0)
    for waiter in range(asked):
        connection.request(Op.READ, b"/a\0", 0, waiter)
    connection.watch("/a")
    answers, error = drain(connection.receive, cut(data, places))
    waiters = [answer[0] for answer in answers if not isinstance(answer, WatchEvent)]
    assert len(set(waiters)) == len(waiters)
    assert set(waiters) | set(connection.waiters()) == set(range(asked))
    assert error is None or "XenStore" in error
    assert connection._reader.pending < KEPT_MAX


@given(st.binary(max_size=200))
def test_what_replies_hold_is_read_or_refused(payload: bytes) -> None:
    for read in (
        client.parse_names,
        client.parse_text,
        client.parse_number,
        client.parse_flag,
        client.parse_part,
        client.parse_permissions,
        client.parse_event,
        client.parse_error,
    ):
        with contextlib.suppress(ProtocolError):
            read(payload)


names = st.text("abcxyzABC019-_@", min_size=1, max_size=12)
sound_paths = st.lists(names, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))
granted = st.lists(
    st.builds(Permission, st.sampled_from(Access), st.integers(0, 0x7FFF)), min_size=1
)


@given(sound_paths, st.binary(max_size=100), numbers, granted)
def test_what_the_client_asks_is_what_the_server_reads(
    path: str, value: bytes, tx_id: int, allowed: list[Permission]
) -> None:
    connection: ClientConnection[str] = ClientConnection()
    field = client.path_field(path)
    token, watch = connection.watch(path)
    asked = [
        (Op.READ, field, Request(Op.READ, 1, tx_id, path)),
        (Op.WRITE, field + value, Request(Op.WRITE, 2, tx_id, path, value)),
        (Op.WATCH, watch, Request(Op.WATCH, 3, tx_id, path, token=token)),
        (
            Op.SET_PERMS,
            field + permissions.encode(allowed),
            Request(Op.SET_PERMS, 4, tx_id, path, permissions=tuple(allowed)),
        ),
    ]
    data = b"".join(connection.request(op, payload, tx_id, "") for op, payload, _ in asked)
    assert list(ServerConnection().receive(data)) == [request for _, _, request in asked]


@given(
    st.lists(
        st.tuples(st.sampled_from([Op.READ, Op.RM, Op.DIRECTORY]), st.binary(max_size=50))
        | st.tuples(st.sampled_from(sorted(ERRORS)), st.just(b"")),
        min_size=1,
        max_size=20,
    ),
    st.randoms(use_true_random=False),
    cuts,
)
def test_replies_come_back_to_who_asked_in_whatever_order(
    answers: list[tuple[Op | str, bytes]], shuffled: Any, places: list[int]
) -> None:
    connection: ClientConnection[int] = ClientConnection()
    server = ServerConnection()
    asked = b"".join(
        connection.request(answer if isinstance(answer, Op) else Op.READ, b"/a\0", 0, waiter)
        for waiter, (answer, _) in enumerate(answers)
    )
    replies = [
        server.reply(request, payload)
        if isinstance(answer, Op)
        else server.error(request, str(answer))
        for request, (answer, payload) in zip(server.receive(asked), answers, strict=True)
    ]
    shuffled.shuffle(replies)
    got, error = drain(connection.receive, cut(b"".join(replies), places))
    assert error is None
    assert dict(got) == {
        waiter: Reply(payload) if isinstance(answer, Op) else Reply(b"", str(answer))
        for waiter, (answer, payload) in enumerate(answers)
    }


@given(st.lists(names, max_size=40), st.integers(0, 2**64 - 1))
@settings(max_examples=30)
def test_directories_are_whole_again(children: list[str], generation: int) -> None:
    children = children * 40  # more than one part, often
    listed, last = b"", False
    while not last:
        part = directory_part(generation, children, len(listed))
        assert part is not None
        assert len(part) <= PAYLOAD_MAX
        said, more, last = client.parse_part(part)
        assert said == generation
        assert more or last
        listed += more
    assert listed == names_payload(children)
    assert client.parse_names(listed) == children


@given(st.text(max_size=30) | sound_paths)
def test_a_path_the_client_takes_is_one_the_server_takes(path: str) -> None:
    try:
        field = client.path_field(path)
    except XenStoreError:
        if path.isascii():
            raw = path.encode()
            assert parse(Packet(Op.WATCH, 0, 0, raw + b"\0t\0")).error == "EINVAL"
        return
    assert parse(Packet(Op.WATCH, 0, 0, field + b"t\0")).path == path
