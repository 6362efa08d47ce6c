"""Listening Unix sockets that only their owner may open; a stale one is replaced."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The longest path of a Unix socket, in bytes (``sun_path``).
PATH_MAX = 107

#: How many connections may wait to be accepted; beyond that a client does not wait but fails.
BACKLOG = 1024


async def listen(path: Path, accept: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Listen on a socket at ``path``; a socket that was left there is replaced.

    Raises ``ConfigurationError`` when no socket can be created at this path.
    """
    sock = _bind(path)
    return await asyncio.get_running_loop().create_unix_server(accept, sock=sock, backlog=BACKLOG)


def _bind(path: Path) -> socket.socket:
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise ConfigurationError(
            f"the path has {length} bytes, a socket's may have {PATH_MAX}",
            where=str(path),
            hint="choose a folder with a shorter path",
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(os.fsencode(path))
    except OSError as error:
        sock.close()
        message = f"no socket can be made here: {error.strerror}"
        raise ConfigurationError(message, where=str(path)) from error
    finally:
        os.umask(before)
    sock.settimeout(0)
    return sock
