"""The guest's small XenStore client: on a socket, and on what stands in for the kernel's device."""

from __future__ import annotations

import errno
import os
import threading
import tty
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import XenStoreError, XenStoreUnreachable
from lamplighter.guest import xenbus
from lamplighter.guest.xenbus import Bus
from lamplighter.xenstore.server import ServerConnection
from lamplighter.xenstore.wire import Op, PacketReader
from tests.store_thread import SmallStoreThread, StoreThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lamplighter.xenstore.server import Request
    from tests.small_store import Connection

REQUEST = "control/shutdown"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with StoreThread(tmp_path / "s") as store:
        bus = Bus(str(store.path))
        yield bus
        bus.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallStoreThread]:
    with SmallStoreThread(tmp_path / "s") as small:
        yield small


def test_nodes_are_relative_to_the_own_domain(bus: Bus) -> None:
    assert bus.read("data/lamplighter/version") is None
    bus.write("data/lamplighter/version", b"1 0.1.0")
    assert bus.read("/local/domain/0/data/lamplighter/version") == b"1 0.1.0"
    bus.remove("data/lamplighter/version")
    bus.remove("data/lamplighter/version")
    assert bus.read("data/lamplighter/version") is None


def test_a_node_is_removed_if_the_value_stands_there(bus: Bus) -> None:
    path = "data/lamplighter/more"
    assert not bus.remove_if(path, b"k1 60 x")
    bus.write(path, b"k2 60 x")
    assert not bus.remove_if(path, b"k1 60 x")
    assert bus.read(path) == b"k2 60 x"
    assert bus.remove_if(path, b"k2 60 x")
    assert bus.read(path) is None


def test_a_watch_fires_once_when_it_is_set_and_when_something_changes(bus: Bus) -> None:
    bus.watch(REQUEST)
    assert bus.wait(xenbus.now() + 20) == {REQUEST}
    for word in (b"poweroff", b"reboot"):
        bus.write(REQUEST, word)
    bus.read(REQUEST)  # the store has said by now that it changed
    assert bus.kept
    assert bus.fired() == {REQUEST}
    assert not bus.kept
    assert bus.fired() == set()


def test_only_what_stands_is_cleared(bus: Bus) -> None:
    assert not bus.clear_if(REQUEST, b"poweroff")
    bus.write(REQUEST, b"reboot")
    assert not bus.clear_if(REQUEST, b"poweroff")
    assert bus.read(REQUEST) == b"reboot"
    assert bus.clear_if(REQUEST, b"reboot")
    assert bus.read(REQUEST) == b""


@pytest.mark.parametrize("then", [b"poweroff", b"reboot"])
def test_a_transaction_that_conflicts_is_begun_again(small: SmallStoreThread, then: bytes) -> None:
    turns = iter(range(2))

    def conflict(connection: Connection, request: Request) -> bytes | None:
        if next(turns, None) is None:
            return None
        small.store.values[REQUEST] = then  # what another one wrote
        return connection.wire.error(request, "EAGAIN")

    small.store.values[REQUEST] = b"poweroff"
    small.store.rules[Op.TRANSACTION_END] = conflict
    bus = Bus(str(small.path))
    assert bus.clear_if(REQUEST, b"poweroff") is (then == b"poweroff")
    bus.close()


def test_a_transaction_is_not_begun_again_for_ever(small: SmallStoreThread) -> None:
    def conflict(connection: Connection, request: Request) -> bytes:
        small.store.values[REQUEST] = b"poweroff"
        return connection.wire.error(request, "EAGAIN")

    small.store.values[REQUEST] = b"poweroff"
    small.store.rules[Op.TRANSACTION_END] = conflict
    bus = Bus(str(small.path))
    with pytest.raises(XenStoreError, match="changed 50 times"):
        bus.clear_if(REQUEST, b"poweroff")
    bus.close()


def test_what_xenstore_refuses_is_an_error_and_no_end(small: SmallStoreThread) -> None:
    def refuse(connection: Connection, request: Request) -> bytes:
        return connection.wire.error(request, "EACCES")

    small.store.rules[Op.WATCH] = small.store.rules[Op.WRITE] = refuse
    bus = Bus(str(small.path))
    with pytest.raises(XenStoreError, match="EACCES to WATCH"):
        bus.watch(REQUEST)
    with pytest.raises(XenStoreError, match="EACCES to WRITE"):
        bus.write(REQUEST, b"")
    assert bus.read(REQUEST) is None
    bus.close()


def test_a_reply_that_does_not_come_ends_the_connection(small: SmallStoreThread) -> None:
    small.store.rules[Op.READ] = lambda *_: b""
    bus = Bus(str(small.path), patience=0.05)
    with pytest.raises(XenStoreUnreachable, match=r"no reply to READ within 0\.05 s"):
        bus.read(REQUEST)
    assert bus.fileno() == -1
    with pytest.raises(XenStoreUnreachable, match="no reply to READ"):
        bus.write(REQUEST, b"")


def test_a_connection_that_is_closed_is_lost(small: SmallStoreThread) -> None:
    bus = Bus(str(small.path))
    bus.write(REQUEST, b"")
    small.do(small.store.drop)
    with pytest.raises(XenStoreUnreachable, match="closed it"):
        bus.wait(xenbus.now() + 20)


def test_what_is_not_the_protocol_ends_the_connection(small: SmallStoreThread) -> None:
    small.store.rules[Op.READ] = lambda *_: b"\xff" * 16
    bus = Bus(str(small.path))
    with pytest.raises(XenStoreUnreachable, match="XenStore packet"):
        bus.read(REQUEST)


def test_where_there_is_no_xenstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(XenStoreUnreachable, match="No such file"):
        Bus(str(tmp_path / "none"))
    monkeypatch.setattr(xenbus, "DEVICES", (str(tmp_path / "device"),))
    with pytest.raises(XenStoreUnreachable, match="not a Xen domain"):
        Bus()


# --- the device --------------------------------------------------------------------------------


class Kernel:
    """A pseudo-terminal's other end, read in a thread as the kernel would read its device."""

    def __init__(self) -> None:
        self.end, self.device = os.openpty()
        tty.setraw(self.device)
        self.path = os.ttyname(self.device)
        self.wire = ServerConnection()
        self.values = {"a": b"v" * 500}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        os.write(self.device, self.wire_end())
        self.thread.join(20)
        os.close(self.end)
        os.close(self.device)

    def wire_end(self) -> bytes:
        return b"\xff" * 16

    def _serve(self) -> None:
        while True:
            data = os.read(self.end, 65536)
            if data.startswith(b"\xff"):
                return
            for request in self.wire.receive(data):
                os.write(self.end, self._answer(request))

    def _answer(self, request: Request) -> bytes:
        if request.op == Op.WATCH:
            event = self.wire.watch_event(request.path, request.token)
            return event + self.wire.reply(request)  # the kernel may tell the event first
        if request.op == Op.READ and request.path in self.values:
            return self.wire.reply(request, self.values[request.path])
        return self.wire.error(request, "ENOENT")


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


def test_the_device_is_spoken_to_as_a_socket_is(kernel: Kernel) -> None:
    bus = Bus(kernel.path)
    assert bus.read("a") == b"v" * 500
    assert bus.read("none") is None
    bus.watch("a")
    assert bus.kept
    assert bus.fired() == {"a"}
    bus.close()


def test_a_packet_the_device_would_cut_is_not_sent(kernel: Kernel) -> None:
    bus = Bus(kernel.path)
    with pytest.raises(XenStoreError, match="4096 bytes"):
        bus.write("a", b"x" * 4090)
    assert bus.read("a") == b"v" * 500
    bus.close()


def refusing(kernel: Kernel, number: int) -> Callable[[int, bytes], int]:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if descriptor not in (kernel.end, kernel.device):
            (packet,) = PacketReader().feed(data)
            if packet.op == Op.WATCH:
                raise OSError(number, os.strerror(number))
        return real(descriptor, data)

    return write


def test_a_watch_that_the_kernel_refuses(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xenbus.os, "write", refusing(kernel, errno.EEXIST))
    bus = Bus(kernel.path)
    with pytest.raises(XenStoreError, match="EEXIST to WATCH"):
        bus.watch("a")
    assert bus.read("none") is None
    bus.close()


def test_a_device_that_has_gone(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xenbus.os, "write", refusing(kernel, errno.EIO))
    bus = Bus(kernel.path)
    with pytest.raises(XenStoreUnreachable, match="Input/output error"):
        bus.watch("a")
