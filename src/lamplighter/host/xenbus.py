"""The character device ``/dev/xen/xenbus``: the kernel's own connection, lent to programs.

It speaks the same packets as XenStore's socket, with differences that matter (Linux,
drivers/xen/xenbus/xenbus_dev_frontend.c):

- one packet a write: what follows a whole packet in the same write is thrown away;
- a packet and its header together fit in 4096 bytes;
- WATCH and UNWATCH are done by the kernel while the write lasts, and a WATCH that fails makes
  the write fail, with the errno of XenStore's answer, and gets no reply: it is given one here;
- reads give any part of what is there, from the middle of one packet to the middle of another.

``XenbusTransport`` offers the part of asyncio's transports that ``xenstore_link`` uses.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

from lamplighter.xenstore.wire import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    Buffer = bytes | bytearray | memoryview

_READ_SIZE = 65536
_NAMES = {number: name for name, number in ERRORS.items()}


class Receiver(Protocol):
    """Whom the transport calls, in the loop."""

    def data_received(self, data: bytes) -> None:
        """Bytes came."""

    def packet_refused(self, packet: bytes, error: str) -> None:
        """The kernel refused this packet with an error that XenStore has a name for."""

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing comes any more; None after ``abort``."""


class XenbusTransport(asyncio.WriteTransport):
    """An open device, in the running loop. ``OSError`` when it cannot be opened."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, receiver: Receiver) -> None:
        super().__init__()
        self._loop = loop
        self._receiver = receiver
        self._waiting: deque[bytes] = deque()
        self._sent = 0  # bytes of the first one waiting that were written already
        self._open = True
        self._device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        loop.add_reader(self._device, self._read)

    def write(self, data: Buffer) -> None:
        """Send one packet; what the device does not take at once goes when it can."""
        self._waiting.append(bytes(data))
        if len(self._waiting) == 1:
            self._write()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send packets."""
        for packet in list_of_data:
            self.write(packet)

    def abort(self) -> None:
        """Close the device at once."""
        self._close(None)

    def _write(self) -> None:
        while self._waiting and self._open:
            packet = self._waiting[0]
            try:
                self._sent += os.write(self._device, packet[self._sent :])
            except BlockingIOError:
                self._loop.add_writer(self._device, self._write)
                return
            except OSError as error:
                if self._sent or error.errno not in _NAMES:
                    self._close(error)
                    return
                self._waiting.popleft()
                self._receiver.packet_refused(packet, _NAMES[error.errno])
                continue
            if self._sent == len(packet):
                self._waiting.popleft()
                self._sent = 0
        if self._open:
            self._loop.remove_writer(self._device)

    def _read(self) -> None:
        try:
            data = os.read(self._device, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._close(error)
            return
        if data:
            self._receiver.data_received(data)
        else:
            self._close(EOFError("end of file"))

    def _close(self, error: Exception | None) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._device)
        self._loop.remove_writer(self._device)
        os.close(self._device)
        self._waiting.clear()
        self._loop.call_soon(self._receiver.connection_lost, error)
