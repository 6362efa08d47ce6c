"""Packets: the numbers of xs_wire.h, and reading them from bytes cut anywhere."""

from __future__ import annotations

import errno
import struct

import pytest

from lamplighter.errors import ProtocolError
from lamplighter.xenstore.wire import (
    ERRORS,
    HEADER_SIZE,
    PAYLOAD_MAX,
    Op,
    Packet,
    PacketReader,
    encode,
    op_name,
)

READ = encode(Op.READ, 7, 3, b"/a\0")


@pytest.mark.parametrize(
    ("op", "number"),
    [
        (Op.CONTROL, 0),
        (Op.READ, 2),
        (Op.WATCH_EVENT, 15),
        (Op.ERROR, 16),
        (Op.IS_DOMAIN_INTRODUCED, 17),
        (Op.SET_TARGET, 19),
        (Op.RESET_WATCHES, 21),
        (Op.DIRECTORY_PART, 22),
        (Op.SET_QUOTA, 26),
    ],
)
def test_types_have_the_numbers_of_xs_wire_h(op: Op, number: int) -> None:
    assert op == number


def test_restrict_is_no_type_any_more() -> None:
    assert 20 not in {int(op) for op in Op}
    assert op_name(20) == "type 20"
    assert op_name(2) == "READ"


def test_errors_have_the_numbers_of_this_machine() -> None:
    assert len(ERRORS) == 16
    assert ERRORS["ENOENT"] == errno.ENOENT
    assert ERRORS["EAGAIN"] == errno.EAGAIN
    assert ERRORS["E2BIG"] == errno.E2BIG


def test_a_packet_is_four_native_numbers_and_the_payload() -> None:
    assert struct.pack("@IIII", 2, 7, 3, 3) + b"/a\0" == READ
    assert HEADER_SIZE == 16


def test_a_packet_is_given_when_its_last_byte_has_come() -> None:
    reader = PacketReader()
    for byte in READ[:-1]:
        assert list(reader.feed(bytes([byte]))) == []
    assert reader.pending == len(READ) - 1
    assert list(reader.feed(READ[-1:])) == [Packet(Op.READ, 7, 3, b"/a\0")]
    assert reader.pending == 0


def test_many_packets_and_a_half_one_at_once() -> None:
    reader = PacketReader()
    packets = list(reader.feed(READ * 3 + READ[:5]))
    assert [packet.payload for packet in packets] == [b"/a\0"] * 3
    assert len(list(reader.feed(READ[5:]))) == 1


def test_packets_not_taken_are_given_by_the_next_feed() -> None:
    reader = PacketReader()
    first = next(reader.feed(READ + encode(Op.RM, 8, 0, b"/b\0")))
    assert first.req_id == 7
    assert [packet.req_id for packet in reader.feed(READ)] == [8, 7]


def test_a_payload_may_be_empty_and_may_have_4096_bytes() -> None:
    reader = PacketReader()
    longest = encode(Op.WRITE, 1, 0, bytes(PAYLOAD_MAX))
    packets = list(reader.feed(encode(Op.READ, 0, 0, b"") + longest))
    assert [len(packet.payload) for packet in packets] == [0, PAYLOAD_MAX]


def test_a_longer_payload_is_refused_at_its_header_and_named() -> None:
    reader = PacketReader()
    packets = reader.feed(READ + struct.pack("=IIII", 77, 5, 0, PAYLOAD_MAX + 1))
    assert next(packets).req_id == 7
    with pytest.raises(ProtocolError, match=r"type 77, request id 5.* 4097 bytes.* 4096"):
        next(packets)


def test_nothing_is_kept_after_a_refusal() -> None:
    reader = PacketReader()
    with pytest.raises(ProtocolError):
        list(reader.feed(b"\xff" * 16))
    for _ in range(3):
        with pytest.raises(ProtocolError, match="4294967295 bytes"):
            reader.feed(READ * 100)
    assert reader.pending == 0
