from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.formats.sd_notify import LONGEST_STATUS, encode, status_line


def test_each_thing_has_a_line_of_its_own() -> None:
    assert encode(ready=True) == b"READY=1"
    assert encode(stopping=True, status="so") == b"STOPPING=1\nSTATUS=so"
    assert encode(extend=60.0, status="1 of 2 left") == (
        b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=1 of 2 left"
    )
    assert encode(extend=-1.0) == b"EXTEND_TIMEOUT_USEC=0"


def test_a_name_cannot_say_anything_else_to_systemd() -> None:
    datagram = encode(status="left: web\nMAINPID=1\x1b[31m\0")
    assert datagram.count(b"\n") == 0
    assert b"\x1b" not in datagram
    assert b"\0" not in datagram


def test_a_long_status_is_cut_between_characters() -> None:
    line = status_line("\N{SNOWMAN}" * 1000)
    assert line.endswith("\N{SNOWMAN}...")
    assert LONGEST_STATUS - 3 < len(line.encode()) <= LONGEST_STATUS


@given(st.text())
def test_any_text_is_one_bounded_line(text: str) -> None:
    datagram = encode(status=text, extend=1.0)
    assert len(datagram) < 4096
    assert datagram.decode().split("\n")[0] == "EXTEND_TIMEOUT_USEC=1000000"
    assert len(datagram.split(b"\n")) == 2
    assert status_line(text).isprintable()


def test_half_of_a_surrogate_pair_is_no_obstacle() -> None:
    assert encode(status="x\udcff") == "STATUS=x\N{REPLACEMENT CHARACTER}".encode()
