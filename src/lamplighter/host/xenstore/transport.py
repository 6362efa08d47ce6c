"""Sends and receives XenStore's bytes through its socket or /dev/xen/xenbus.

The device is the kernel's own connection, shared with programs. It uses the same packets as the
socket, with differences that matter (Linux, drivers/xen/xenbus/xenbus_dev_frontend.c):

- one packet per write: what follows a whole packet in the same write is discarded;
- a packet and its header together fit in 4096 bytes;
- WATCH and UNWATCH are done by the kernel during the write, and a WATCH that fails makes the write
  fail, with the errno of XenStore's answer, and gets no reply: see ``packet_refused``.

A read returns any part of what is there, from the middle of one packet to the middle of another.

This is not asyncio's transport because of ``poll_reply``: XenStore answers most requests in less
time than it takes to sleep and be woken up again. So after sending a single request it is faster to
poll for the answer a few times before control returns to the loop, yielding the processor between
two polls. Measured, a request made alone takes less than half the time. What ``poll_reply`` reads
is passed to the receiver before it returns.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamplighter.xenstore.wire import ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The most bytes read at once.
READ_SIZE = 65536
#: How often to poll for an answer: about 50 microseconds.
POLLS = 40

# EIO from the device is not an answer of XenStore: the device has gone.
_ANSWERS = {number: name for name, number in ERRORS.items() if name != "EIO"}


class Receiver(Protocol):
    """What the transport calls, in the loop."""

    def data_received(self, data: bytes) -> None:
        """Take received bytes; this may be called within ``poll_reply``."""

    def packet_refused(self, packet: bytes, error: str) -> None:
        """Note that the kernel refused this packet with an error that XenStore has a name for."""

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end; ``error`` is None after ``abort``. Called once, in a separate iteration."""


class Transport:
    """An open, non-blocking descriptor in the running loop; closed with the transport."""

    def __init__(self, descriptor: int, receiver: Receiver, *, is_device: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._receiver = receiver
        self._is_device = is_device
        self._unsent: deque[bytes] = deque()
        self._sent = 0  # how many bytes of the first unsent item were written
        self._open = True
        self._loop.add_reader(descriptor, self._read)

    def write(self, packets: Sequence[bytes]) -> None:
        """Send packets; what the descriptor does not take at once is sent when it can."""
        if self._open:
            waiting = bool(self._unsent)
            self._unsent.extend(packets if self._is_device else [b"".join(packets)])
            if not waiting:
                self._write()

    def poll_reply(self) -> None:
        """Poll a few times for an answer, and pass it to the receiver."""
        if self._unsent:
            return
        for _ in range(POLLS):
            if not self._open:
                return
            if data := self._take():
                self._receiver.data_received(data)
                return
            os.sched_yield()

    def abort(self) -> None:
        """Close at once."""
        self._close(None)

    def _write(self) -> None:
        while self._unsent and self._open:
            data = self._unsent[0]
            try:
                self._sent += os.write(self._descriptor, memoryview(data)[self._sent :])
            except BlockingIOError:
                self._loop.add_writer(self._descriptor, self._write)
                return
            except OSError as error:
                if self._sent or not self._is_device or error.errno not in _ANSWERS:
                    self._close(error)
                else:
                    self._receiver.packet_refused(self._unsent.popleft(), _ANSWERS[error.errno])
                continue
            if self._sent == len(data):
                self._unsent.popleft()
                self._sent = 0
        if self._open:
            self._loop.remove_writer(self._descriptor)

    def _read(self) -> None:
        if data := self._take():
            self._receiver.data_received(data)

    def _take(self) -> bytes:
        """Return what can be read, maybe nothing; close the transport at an error or the end."""
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            self._close(error)
            return b""
        if not data:
            self._close(EOFError("end of file"))
        return data

    def _close(self, error: Exception | None) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._unsent.clear()
        self._loop.call_soon(self._receiver.connection_lost, error)


async def open_transport(path: str, receiver: Receiver) -> Transport:
    """Open the socket or device at ``path``; ``OSError``, or ``ValueError`` if it is neither."""
    device = _open_if_device(path)
    if device is not None:
        return Transport(device, receiver, is_device=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        await asyncio.get_running_loop().sock_connect(connection, path)
        return Transport(connection.detach(), receiver, is_device=False)


def _open_if_device(path: str) -> int | None:
    """Open the character device at ``path``; return None when a socket is there."""
    mode = Path(path).stat().st_mode
    if stat.S_ISCHR(mode):
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISSOCK(mode):
        return None
    raise ValueError("it is neither a socket nor a character device")
