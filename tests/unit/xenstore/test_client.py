"""The client's end: replies find their requests, and what is wrong is named."""

from __future__ import annotations

import pytest

from lamplighter.errors import ProtocolError, XenStoreError
from lamplighter.xenstore.client import (
    ClientConnection,
    Reply,
    WatchEvent,
    parse_error,
    parse_event,
    parse_flag,
    parse_names,
    parse_number,
    parse_part,
    parse_permissions,
    parse_text,
    path_field,
)
from lamplighter.xenstore.permissions import Access, Permission
from lamplighter.xenstore.wire import ID_MAX, PAYLOAD_MAX, Op, PacketReader, encode

Connection = ClientConnection[str]


def sent(data: bytes) -> int:
    """Return the request id of a request's bytes."""
    (packet,) = PacketReader().feed(data)
    return packet.req_id


def watching(path: str = "/a") -> tuple[Connection, bytes]:
    connection = Connection()
    token, _ = connection.watch(path)
    return connection, token


def event(path: bytes, token: bytes) -> bytes:
    return encode(Op.WATCH_EVENT, 0, 0, path + b"\0" + token + b"\0")


def test_replies_find_their_waiters_in_any_order() -> None:
    connection = Connection()
    first = sent(connection.request(Op.READ, b"/a\0", 0, "first"))
    second = sent(connection.request(Op.MKDIR, b"/b\0", 0, "second"))
    data = encode(Op.MKDIR, second, 0, b"OK\0") + encode(Op.READ, first, 0, b"\xff\0")
    assert list(connection.receive(data)) == [
        ("second", Reply(b"OK\0")),
        ("first", Reply(b"\xff\0")),
    ]
    assert connection.pending == 0


def test_errors_come_by_their_names() -> None:
    connection = Connection()
    req_id = sent(connection.request(Op.READ, b"/a\0", 0, "it"))
    answers = list(connection.receive(encode(Op.ERROR, req_id, 0, b"ENOENT\0")))
    assert answers == [("it", Reply(b"", "ENOENT"))]


def test_an_error_only_oxenstored_knows_has_its_name_too() -> None:
    assert parse_error(b"EQUOTA\0") == "EQUOTA"


def test_request_ids_wrap_and_pass_over_those_still_pending() -> None:
    connection = Connection(first_request_id=ID_MAX)
    assert sent(connection.request(Op.READ, b"/a\0", 0, "old")) == ID_MAX
    assert sent(connection.request(Op.READ, b"/a\0", 0, "new")) == 0
    lap = Connection(first_request_id=ID_MAX)
    lap.request(Op.READ, b"/a\0", 0, "old")
    lap._next_id = ID_MAX  # four thousand million requests later
    assert sent(lap.request(Op.READ, b"/a\0", 0, "new")) == 0


def test_a_reply_to_nobody_is_named() -> None:
    connection = Connection()
    with pytest.raises(ProtocolError, match="nobody asked for: READ to id 44"):
        list(connection.receive(encode(Op.READ, 44, 0, b"")))


def test_a_second_reply_to_one_request_is_one_to_nobody() -> None:
    connection = Connection()
    reply = encode(Op.READ, sent(connection.request(Op.READ, b"/a\0", 0, "it")), 0, b"")
    answers = connection.receive(reply + reply)
    assert next(answers) == ("it", Reply(b""))
    with pytest.raises(ProtocolError, match="nobody"):
        next(answers)


@pytest.mark.parametrize(("op", "name"), [(Op.WRITE, "WRITE"), (77, "type 77"), (20, "type 20")])
def test_a_reply_of_the_wrong_type_is_named(op: int, name: str) -> None:
    connection = Connection()
    req_id = sent(connection.request(Op.READ, b"/a\0", 0, "it"))
    with pytest.raises(ProtocolError, match=rf"READ \(request id {req_id}\) with {name}"):
        list(connection.receive(encode(op, req_id, 0, b"")))
    assert connection.waiters() == ["it"]


def test_after_one_protocol_error_there_is_no_other_answer() -> None:
    connection = Connection()
    req_id = sent(connection.request(Op.READ, b"/a\0", 0, "it"))
    with pytest.raises(ProtocolError):
        list(connection.receive(encode(Op.READ, 9999, 0, b"")))
    with pytest.raises(ProtocolError, match="nobody"):
        connection.receive(encode(Op.READ, req_id, 0, b""))


def test_events_go_by_token_and_may_come_before_the_watchs_reply() -> None:
    connection, token = watching()
    connection.request(Op.WATCH, b"", 0, "watch")
    assert list(connection.receive(event(b"/a/b", token))) == [WatchEvent("/a/b", token)]


def test_an_event_of_a_watch_just_taken_back_is_dropped() -> None:
    connection, token = watching()
    assert connection.unwatch(token) == b"/a\0" + token + b"\0"
    assert list(connection.receive(event(b"/a", token))) == []


def test_an_event_of_a_watch_that_was_refused_is_dropped() -> None:
    connection, token = watching()
    connection.forget(token)
    assert list(connection.receive(event(b"/a", token))) == []


@pytest.mark.parametrize("token", [b"1", b"", b"x", b"-0", b"9" * 30])
def test_an_event_of_a_watch_that_never_was_is_named(token: bytes) -> None:
    connection, _ = watching()
    with pytest.raises(ProtocolError, match="never was: token"):
        list(connection.receive(event(b"/a", token)))


def test_tokens_are_never_used_twice() -> None:
    connection, first = watching()
    connection.unwatch(first)
    second, payload = connection.watch("/a")
    assert second != first
    assert payload == b"/a\0" + second + b"\0"


def test_requests_over_the_limit_are_refused_here() -> None:
    connection = Connection()
    connection.request(Op.WRITE, bytes(PAYLOAD_MAX), 0, "fits")
    with pytest.raises(XenStoreError, match="4097") as caught:
        connection.request(Op.WRITE, bytes(PAYLOAD_MAX + 1), 0, "does not")
    assert caught.value.name == "E2BIG"
    assert connection.waiters() == ["fits"]
    assert connection.pending == 0


def test_a_request_that_could_not_be_sent_gives_its_waiter_back() -> None:
    connection = Connection()
    req_id = sent(connection.request(Op.WATCH, b"", 0, "it"))
    assert connection.withdraw(req_id) == "it"
    assert connection.pending == 0


@pytest.mark.parametrize("path", ["", "/a/", "/a b", "//", "/\0", "/ä", "x" * 2049])
def test_bad_paths_are_refused_here_and_named(path: str) -> None:
    with pytest.raises(XenStoreError, match="not a XenStore path") as caught:
        path_field(path)
    assert caught.value.name == "EINVAL"


def test_what_replies_hold() -> None:
    assert parse_names(b"") == []
    assert parse_names(b"a\0b\0") == ["a", "b"]
    assert parse_text(b"/local/domain/3\0") == "/local/domain/3"
    assert parse_number(b"4294967295\0") == 4294967295
    assert parse_flag(b"T\0")
    assert not parse_flag(b"F\0")
    assert parse_permissions(b"n0\0r3\0") == [
        Permission(Access.NONE, 0),
        Permission(Access.READ, 3),
    ]
    assert parse_event(b"@releaseDomain\x005\0") == WatchEvent("@releaseDomain", b"5")
    assert parse_part(b"12\0a\0b\0") == (12, b"a\0b\0", False)
    assert parse_part(b"12\0a\0\0") == (12, b"a\0", True)
    assert parse_part(b"12\0\0") == (12, b"", True)


@pytest.mark.parametrize("payload", [b"a", b"a\0b", b"\xff\0"])
def test_malformed_names(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed list of names"):
        parse_names(payload)


@pytest.mark.parametrize("payload", [b"", b"\0", b"1", b"-1\0", b"1\x002\0", b"9" * 30 + b"\0"])
def test_malformed_numbers(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed number"):
        parse_number(payload)


@pytest.mark.parametrize("payload", [b"", b"T", b"X\0", b"TF\0"])
def test_malformed_flags(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed T or F"):
        parse_flag(payload)


@pytest.mark.parametrize("payload", [b"", b"/a\0b\0", b"/a"])
def test_malformed_texts(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        parse_text(payload)


@pytest.mark.parametrize("payload", [b"q1\0", b"n\0", b"n0"])
def test_malformed_permissions(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        parse_permissions(payload)


@pytest.mark.parametrize("payload", [b"", b"1", b"1\0a", b"x\0a\0", b"\0"])
def test_malformed_parts(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        parse_part(payload)


@pytest.mark.parametrize("payload", [b"", b"\0", b"/a\0", b"/a\0t", b"/a\0t\0u\0", b"/\xff\0t\0"])
def test_malformed_events(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed watch event"):
        parse_event(payload)


@pytest.mark.parametrize("payload", [b"", b"ENOENT", b"enoent\0", b"E\0", b"no\0", b"E" * 99])
def test_malformed_errors(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed error"):
        parse_error(payload)
