"""Clearing a request in a guest: what is cleared, what is left alone, what happens in between."""

from __future__ import annotations

import pytest

from lamplighter.embedded.guests.shutdown_node import REQUEST, clear_request
from lamplighter.embedded.xenstored.access import owned
from lamplighter.embedded.xenstored.store import Session, Store
from lamplighter.host.clock import LoopClock
from tests import virtual

NODE = f"/local/domain/5/{REQUEST}"
KNOWN = (b"poweroff", b"reboot")


class Clock(LoopClock):
    """A clock with which something else may write the node while the guest waits."""

    def __init__(self, host: Session, *writes: bytes) -> None:
        super().__init__()
        self._host = host
        self._writes = list(writes)

    async def sleep(self, seconds: float) -> None:
        if self._writes:
            self._host.write(NODE, self._writes.pop(0))
        await super().sleep(seconds)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.introduce(5)
    return store


def connect(store: Store, domid: int) -> Session:
    return store.connect(domid, lambda path, token: None)


def clear(store: Store, request: bytes, *writes: bytes) -> tuple[bytes | None, bytes]:
    """Return what was cleared and what the node holds then; ``writes`` come in between."""
    host = connect(store, 0)
    host.write(NODE, request)
    host.set_permissions(NODE, owned(5))
    cleared = virtual.run(clear_request(connect(store, 5), Clock(host, *writes), KNOWN), seed=1)
    return cleared, host.read(NODE)


@pytest.mark.parametrize("request_", KNOWN)
def test_a_known_request_is_cleared(store: Store, request_: bytes) -> None:
    assert clear(store, request_) == (request_, b"")


@pytest.mark.parametrize("request_", [b"", b"dance", b"poweroff\0", b"\xff" * 100])
def test_anything_else_is_left_alone(store: Store, request_: bytes) -> None:
    assert clear(store, request_) == (None, request_)


@pytest.mark.parametrize("moment", [0, 1])
def test_a_request_that_changes_meanwhile_is_read_again(store: Store, moment: int) -> None:
    same = [b"poweroff"] * moment
    assert clear(store, b"poweroff", *same, b"reboot") == (b"reboot", b"")


def test_a_request_that_is_taken_back_meanwhile_is_not_cleared(store: Store) -> None:
    assert clear(store, b"poweroff", b"") == (None, b"")


def test_a_node_that_is_missing_or_not_readable_holds_no_request(store: Store) -> None:
    clock = Clock(connect(store, 0))
    guest = connect(store, 5)
    assert virtual.run(clear_request(guest, clock, KNOWN), seed=1) is None
    connect(store, 0).write(NODE, b"poweroff")
    assert virtual.run(clear_request(guest, clock, KNOWN), seed=1) is None
    assert connect(store, 0).read(NODE) == b"poweroff"
    for _ in range(store.quotas.transactions):
        guest.start()  # it left no transaction open
