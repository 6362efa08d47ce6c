"""The monitor's socket: a client that connects is sent what the monitor knows.

No request is read, so a client cannot send a wrong one. The kernel identifies the peer: root and
the monitor's own user are served, the connection of anybody else is closed without an answer. A
client that does not read costs one connection, until newer ones need it.

The client waits at most a second for data to arrive. A monitor that is absent or hangs gives no
answer, and no command depends on one.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, cast

from lamplighter.errors import ConfigurationError
from lamplighter.formats.state_json import parse, watched_from_json, watched_to_json
from lamplighter.host.unix_socket import listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamplighter.model.domain_event import MonitorState

#: The socket inside the run directory.
FILE_NAME = "monitor.sock"

#: So many clients are served at a time; one more closes the oldest connection.
CLIENTS = 16

#: How many real seconds a client waits for data to arrive, and how many bytes it reads at most.
TIMEOUT = 1.0
ANSWER_MAX = 16 << 20

#: The kernel's credentials of a peer: process, user, group.
_CREDENTIALS = struct.Struct("3i")


class MonitorSocket:
    """Serves the monitor's current state to each client, on the socket in a run directory."""

    def __init__(self, directory: Path, watched: Callable[[], MonitorState]) -> None:
        self._path = directory / FILE_NAME
        self._watched = watched
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Transport, None] = {}

    async def open(self) -> None:
        """Begin to serve; ``ConfigurationError`` if the socket or its folder cannot be created."""
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the folder of the monitor's socket cannot be made: {error.strerror}",
                where=str(folder),
                hint="run as root, or let [host] run name a directory this user may write",
            ) from error
        self._server = await listen(self._path, lambda: _Client(self._watched, self._clients))

    def close(self) -> None:
        """Stop serving and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for client in tuple(self._clients):
            client.abort()


class _Client(asyncio.Protocol):
    """One connection; while it lasts it is in ``clients``, in the order of arrival."""

    def __init__(
        self, watched: Callable[[], MonitorState], clients: dict[asyncio.Transport, None]
    ) -> None:
        self._watched = watched
        self._clients = clients
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if _user_of(transport.get_extra_info("socket")) not in (0, os.geteuid()):
            self._transport.abort()
            return
        if len(self._clients) >= CLIENTS:
            next(iter(self._clients)).abort()
        self._clients[self._transport] = None
        self._transport.write(json.dumps(watched_to_json(self._watched())).encode())
        self._transport.close()  # once all of it is written

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._clients.pop(self._transport, None)


def ask_monitor(directory: Path, patience: float = TIMEOUT) -> MonitorState | None:
    """Return what the monitor in this run directory knows; None if none answers in time.

    Only an answer from a process of root or of this user is believed.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(patience)
            client.connect(os.fsencode(directory / FILE_NAME))
            if _user_of(client) not in (0, os.geteuid()):
                return None
            answer = bytearray()
            while chunk := client.recv(1 << 16):
                answer += chunk
                if len(answer) > ANSWER_MAX:
                    return None
            return watched_from_json(parse(bytes(answer)))
    except (OSError, ValueError):
        return None


def _user_of(connection: socket.socket) -> int:
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(peer)
    return int(user)
