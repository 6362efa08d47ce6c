"""The control socket: init's hook reports to the daemon that the system is stopping, and waits.

    stopping poweroff       answered with "go on" when the administrator's scripts have ended
    hello                   answered with the agent's version, at once

Only root may connect. Any other line, or one that is too long, ends the connection.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from lamplighter.errors import LamplighterError
from lamplighter.formats.agent_protocol import REQUESTS
from lamplighter.guest.clock import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamplighter.guest.log import Log

#: The longest valid line in bytes, and the most callers at once; further ones are turned away.
LINE_MAX = 64
CALLERS_MAX = 16

#: Seconds that a daemon may take to answer ``HELLO``.
ANSWERS = 5.0

HELLO = "hello"
STOPPING = "stopping"
GO_ON = "go on"


class ControlSocket:
    """The daemon's end of the socket; without a ``listener`` nobody can connect."""

    def __init__(self, listener: socket.socket | None, version: str) -> None:
        self._version = version
        self._waiting: list[socket.socket] = []
        self._calls: dict[int, socket.socket] = {}
        self._listener = listener

    @property
    def listens(self) -> bool:
        """Whether init's hook can connect."""
        return self._listener is not None

    def descriptors(self) -> Iterator[int]:
        """Yield the descriptors to poll."""
        if self._listener is not None:
            yield self._listener.fileno()
        yield from self._calls

    def receive(self, descriptor: int) -> str | None:
        """Read from a descriptor; return the shutdown that init's hook reports, if any."""
        if self._listener is not None and descriptor == self._listener.fileno():
            with suppress(OSError):
                caller, _ = self._listener.accept()
                caller.settimeout(0)
                if len(self._calls) < CALLERS_MAX:
                    self._calls[caller.fileno()] = caller
                else:
                    caller.close()
            return None
        caller = self._calls[descriptor]
        try:
            line = caller.recv(LINE_MAX)
        except BlockingIOError:
            return None
        except OSError:
            line = b""
        word, _, request = line.decode("ascii", "replace").strip().partition(" ")
        if word == STOPPING and request in REQUESTS and caller not in self._waiting:
            self._waiting.append(caller)
            return request
        if word == HELLO:
            self._answer(caller, self._version)
        del self._calls[descriptor]
        if caller in self._waiting:
            self._waiting.remove(caller)
        caller.close()
        return None

    def release(self) -> None:
        """Answer all waiting callers, so that they go on."""
        waiting, self._waiting = self._waiting, []
        for caller in waiting:
            self._answer(caller, GO_ON)

    def _answer(self, caller: socket.socket, word: str) -> None:
        with suppress(OSError):
            caller.send(f"{word}\n".encode("ascii"))


def open_control_socket(path: str, version: str, log: Log) -> ControlSocket:
    """Return the control socket; without a listener if the socket cannot be created."""
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        return ControlSocket(listen(path), version)
    except FileExistsError as error:
        raise LamplighterError(f"{path}: {error.strerror}") from error
    except OSError as error:
        log.warn(f"{path}: {error.strerror}; the scripts are left to init's hook")
        return ControlSocket(None, version)


def listen(path: str) -> socket.socket:
    """Return a listening socket; ``OSError`` on failure, ``FileExistsError`` if a daemon has it."""
    if call(path, HELLO, ANSWERS) is not None:
        raise FileExistsError(17, "another lamplighter-agent runs")
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.settimeout(0)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(CALLERS_MAX)
    return listener


def call(path: str, line: str, patience: float) -> str | None:
    """Send a line to the daemon and return its answer; None: no answer in ``patience`` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, suppress(OSError):
        connection.settimeout(patience)
        connection.connect(path)
        connection.sendall(f"{line}\n".encode("ascii"))
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if poll.poll(milliseconds(patience)):
            answer = connection.recv(LINE_MAX).decode("ascii", "replace").strip()
            return answer or None
    return None
