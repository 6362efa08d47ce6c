"""The server's end: what becomes of every request, well-formed or not."""

from __future__ import annotations

import pytest

from lamplighter.errors import ProtocolError
from lamplighter.xenstore.permissions import Access, Permission
from lamplighter.xenstore.server import (
    Request,
    ServerConnection,
    directory_part,
    names_payload,
    parse,
)
from lamplighter.xenstore.wire import PAYLOAD_MAX, Op, Packet, PacketReader, encode

LONG = b"/" + b"x" * 3072


def parsed(op: int, payload: bytes) -> Request:
    return parse(Packet(op, 5, 9, payload))


def decoded(data: bytes) -> Packet:
    (packet,) = PacketReader().feed(data)
    return packet


@pytest.mark.parametrize("op", [Op.READ, Op.DIRECTORY, Op.MKDIR, Op.RM, Op.GET_PERMS])
def test_requests_of_one_path(op: Op) -> None:
    assert parsed(op, b"/a/b\0") == Request(op, 5, 9, "/a/b")
    assert parsed(op, b"relative\0").path == "relative"
    for payload in [b"", b"\0", b"/a", b"/a\0/b\0", b"/a\0x", b"/a/\0", b"/\xe4\0", LONG + b"\0"]:
        assert parsed(op, payload).error == "EINVAL", payload


def test_values_are_any_bytes() -> None:
    value = bytes(range(256))
    assert parsed(Op.WRITE, b"/a\0" + value).value == value
    assert parsed(Op.WRITE, b"/a\0").value == b""
    assert parsed(Op.WRITE, b"/a").error == "EINVAL"
    assert parsed(Op.WRITE, b"@releaseDomain\0x").error == "EINVAL"


def test_watches_have_a_path_or_a_special_name_and_a_token() -> None:
    request = parsed(Op.WATCH, b"@introduceDomain\0a token\0")
    assert (request.path, request.token) == ("@introduceDomain", b"a token")
    assert parsed(Op.UNWATCH, b"/a\0\0").token == b""
    for payload in [b"/a\0", b"/a\0t", b"/a\0t\0u\0", b"a b\0t\0"]:
        assert parsed(Op.WATCH, payload).error == "EINVAL", payload


def test_permissions_may_be_those_of_a_special_watch() -> None:
    request = parsed(Op.SET_PERMS, b"@releaseDomain\0n0\0r7\0")
    assert request.permissions == (Permission(Access.NONE, 0), Permission(Access.READ, 7))
    for payload in [b"/a\0", b"/a\0n0", b"/a\0q0\0", b"/a\0n\0", b"/a\0n\xff\0"]:
        assert parsed(Op.SET_PERMS, payload).error == "EINVAL", payload


def test_transactions() -> None:
    assert parsed(Op.TRANSACTION_START, b"\0") == Request(Op.TRANSACTION_START, 5, 9)
    assert parsed(Op.TRANSACTION_START, b"").error is None
    assert parsed(Op.TRANSACTION_END, b"T\0").commit
    assert not parsed(Op.TRANSACTION_END, b"F\0").commit
    for payload in [b"", b"\0", b"X\0", b"T", b"TT\0"]:
        assert parsed(Op.TRANSACTION_END, payload).error == "EINVAL", payload


def test_requests_about_domains() -> None:
    assert parsed(Op.GET_DOMAIN_PATH, b"7\0").domid == 7
    assert parsed(Op.SET_TARGET, b"7\0" + b"3\0").arguments == (b"7", b"3")
    assert parsed(Op.INTRODUCE, b"7\0" + b"123\0" + b"4\0").domid == 7
    for payload in [b"", b"7", b"x\0", b"-1\0", b"40000\0", b"7\0" + b"8\0", b"9" * 4000 + b"\0"]:
        assert parsed(Op.IS_DOMAIN_INTRODUCED, payload).error == "EINVAL", payload
    assert parsed(Op.SET_TARGET, b"7\0x\0").error == "EINVAL"


def test_parts_of_a_directory() -> None:
    assert parsed(Op.DIRECTORY_PART, b"/a\x00120\0").offset == 120
    for payload in [b"/a\0", b"/a\0x\0", b"/a\0-1\0", b"/a\0" + b"1" * 30 + b"\0"]:
        assert parsed(Op.DIRECTORY_PART, payload).error == "EINVAL", payload


def test_control_and_reset() -> None:
    assert parsed(Op.CONTROL, b"check\0").arguments == (b"check",)
    assert parsed(Op.CONTROL, b"").error == "EINVAL"
    assert parsed(Op.RESET_WATCHES, b"\0").error is None


@pytest.mark.parametrize("op", [20, 27, 77, 0xFFFF, 0xFFFFFFFF, Op.WATCH_EVENT, Op.ERROR])
def test_unknown_types_are_answered_with_enosys(op: int) -> None:
    request = parsed(op, b"anything")
    assert request.error == "ENOSYS"
    reply = decoded(ServerConnection().error(request, request.error))
    assert reply == Packet(Op.ERROR, 5, 9, b"ENOSYS\0")


def test_requests_come_out_in_order_and_a_broken_stream_after_them() -> None:
    connection = ServerConnection()
    data = encode(Op.READ, 1, 0, b"/a\0") + encode(Op.READ, 2, 0, b"!") + b"\xff" * 16
    requests = connection.receive(data)
    assert next(requests).path == "/a"
    assert next(requests).error == "EINVAL"
    with pytest.raises(ProtocolError):
        next(requests)
    with pytest.raises(ProtocolError):
        list(connection.receive(b""))


def test_requests_that_were_not_taken_are_given_with_the_next_bytes() -> None:
    connection = ServerConnection()
    connection.receive(encode(Op.READ, 1, 0, b"/a\0") + encode(Op.READ, 2, 0, b"/b\0"))
    requests = connection.receive(encode(Op.READ, 3, 0, b"/c\0"))
    assert [request.path for request in requests] == ["/a", "/b", "/c"]


def test_replies_echo_type_and_ids() -> None:
    connection = ServerConnection()
    request = parsed(Op.READ, b"/a\0")
    assert decoded(connection.reply(request, b"value")) == Packet(Op.READ, 5, 9, b"value")
    assert decoded(connection.reply(request)).payload == b"OK\0"


def test_a_reply_over_the_limit_is_e2big() -> None:
    connection = ServerConnection()
    request = parsed(Op.READ, b"/a\0")
    assert decoded(connection.reply(request, bytes(PAYLOAD_MAX))).op == Op.READ
    assert decoded(connection.reply(request, bytes(PAYLOAD_MAX + 1))).payload == b"E2BIG\0"


def test_only_errors_that_exist_can_be_answered() -> None:
    with pytest.raises(ValueError, match="EQUOTA"):
        ServerConnection().error(parsed(Op.READ, b"/a\0"), "EQUOTA")


def test_events_have_path_and_token_and_too_long_ones_are_dropped() -> None:
    connection = ServerConnection()
    assert decoded(connection.watch_event("/a", b"t")) == Packet(Op.WATCH_EVENT, 0, 0, b"/a\0t\0")
    assert connection.watch_event("/a", b"t" * PAYLOAD_MAX) == b""


def test_a_directory_in_parts_is_whole_and_each_part_fits() -> None:
    names = [f"domain-{number}" for number in range(1500)]
    listed, offset, parts = b"", 0, 0
    while True:
        part = directory_part(42, names, offset)
        assert part is not None
        assert len(part) <= PAYLOAD_MAX
        generation, _, rest = part.partition(b"\0")
        assert generation == b"42"
        parts += 1
        if rest.endswith(b"\0\0"):
            listed += rest[:-1]
            break
        listed += rest
        offset += len(rest)
    assert listed == names_payload(names)
    assert parts == 5


def test_a_part_of_nothing_is_the_last_part() -> None:
    assert directory_part(1, [], 0) == b"1\0\0"
    assert directory_part(1, ["a"], 2) == b"1\0\0"


@pytest.mark.parametrize("offset", [1, 4, 100])
def test_an_offset_within_a_name_or_behind_the_end_is_invalid(offset: int) -> None:
    assert directory_part(1, ["ab"], offset) is None
