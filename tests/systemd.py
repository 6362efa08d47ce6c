"""A small systemd that makes scopes, on a Unix socket of the test's and in a thread of its own."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from jeepney import DBusAddress, Message, Parser, new_error, new_method_return, new_signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANAGER = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")


@dataclass(frozen=True)
class Asked:
    """One scope that was asked for."""

    unit: str
    mode: str
    properties: dict[str, tuple[str, Any]]
    member: str


class Systemd:
    """Answers every request in its way, and keeps what was asked.

    ``early``: the job is done before the reply that names it. ``error``: the reply is this error.
    ``result``: how the job ends. ``drops``: on so many connections it hangs up when it is asked.
    ``silent``: it never replies. ``rejects``: it lets nobody in. ``asked`` is called when
    a scope was asked for, in a thread of its own.
    """

    def __init__(
        self,
        path: Path,
        *,
        early: bool = False,
        error: tuple[str, ...] | None = None,
        result: str = "done",
        drops: int = 0,
        silent: bool = False,
        rejects: bool = False,
        asked: Callable[[], object] = bool,
    ) -> None:
        self.scopes: list[Asked] = []
        self._early = early
        self._error = error
        self._result = result
        self._drops = drops
        self._silent = silent
        self._rejects = rejects
        self._asked = asked
        self._serial = count(1)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._open, self._listener):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb", buffering=0) as stream:
            assert stream.readline().startswith(b"\0AUTH EXTERNAL ")
            if self._rejects:
                connection.sendall(b"REJECTED\r\n")
                return
            connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            assert stream.readline() == b"BEGIN\r\n"
        request = self._read(connection)
        unit, mode, properties, _ = request.body
        fields = request.header.fields
        member = next(value for key, value in fields.items() if key.name == "member")
        self.scopes.append(Asked(unit, mode, dict(properties), str(member)))
        self._asked()
        if self._drops:
            self._drops -= 1
            connection.shutdown(socket.SHUT_RDWR)
            return
        if self._silent:
            return
        if self._error is not None:
            name, *words = self._error
            signature = "s" * len(words) or None
            self._send(connection, new_error(request, name, signature, tuple(words)))
            return
        job = "/org/freedesktop/systemd1/job/7"
        other = self._removed("/org/freedesktop/systemd1/job/6", "other.service", "failed")
        done = self._removed(job, unit, self._result)
        reply = new_method_return(request, "o", (job,))
        order = (other, done, reply) if self._early else (reply, other, done)
        for message in order:
            self._send(connection, message)

    def _removed(self, job: str, unit: str, result: str) -> Message:
        return new_signal(MANAGER, "JobRemoved", "uoss", (7, job, unit, result))

    def _read(self, connection: socket.socket) -> Message:
        parser = Parser()
        while (message := parser.get_next_message()) is None:
            parser.add_data(connection.recv(4096))
        return message

    def _send(self, connection: socket.socket, message: Message) -> None:
        connection.sendall(message.serialise(serial=next(self._serial)))
