"""The client's end of an embedded host's control socket: one connection a call.

So a call that hangs holds up no other one, as long as fewer than ``CONNECTIONS`` hang, and a caller
who gives up leaves nothing behind. What is on the wire is told in
``embedded/toolstack/control.py``.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from lamplighter.errors import CallFailed, CallTimedOut, ToolstackUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from lamplighter.model.clock import Clock

#: The longest answer, in bytes: a listing of ten thousand domains has two million.
ANSWER_MAX = 1 << 24


#: The most connections of one client at one time. The host refuses too many (``CONNECTIONS_MAX``),
#: and a Unix socket with a full backlog answers EAGAIN, which asyncio takes for a connection.
CONNECTIONS = 100


class Refused(CallFailed):
    """The host says that a call failed; ``reason`` is its stable word for why."""

    def __init__(self, reason: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ControlClient:
    """Makes calls to the embedded host whose control socket is at ``path``."""

    def __init__(self, path: Path, clock: Clock, call_timeout: float) -> None:
        """``call_timeout`` is in seconds of ``clock``."""
        self._path = path
        self._clock = clock
        self._call_timeout = call_timeout
        self._connections = asyncio.Semaphore(CONNECTIONS)

    async def call(self, name: str, **arguments: object) -> dict[str, Any]:
        """Make one call and return its answer.

        Raises ``ToolstackUnreachable`` when no host answers there, ``CallTimedOut`` when the
        answer does not come in time, ``Refused`` when the host says why not, and ``CallFailed``
        when what comes is no answer.
        """
        request = json.dumps({"call": name, **arguments}).encode() + b"\n"
        try:
            async with self._clock.timeout(self._call_timeout), self._connections:
                line = await self._exchange(request)
        except TimeoutError:
            message = f"the embedded host did not answer {name} within {self._call_timeout:g} s"
            raise CallTimedOut(message) from None
        return _answer(name, line)

    async def _exchange(self, request: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path), limit=ANSWER_MAX)
        except PermissionError as error:
            raise ToolstackUnreachable(
                f"the embedded host at {self._path} may not be asked: {error.strerror}",
                hint="run it as root, or as the user who started the host",
            ) from error
        except OSError as error:
            raise ToolstackUnreachable(
                f"no embedded host answers at {self._path}: {error.strerror or error}",
                hint="start one: lamplighter host start",
            ) from error
        try:
            writer.write(request)
            return await reader.readline()
        except (OSError, ValueError) as error:
            raise CallFailed(f"the embedded host's answer could not be read: {error}") from error
        finally:
            writer.close()


def _answer(name: str, line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise CallFailed(f"the embedded host hung up without answering {name}")
    try:
        document = json.loads(line)
        if "error" in document:
            error = document["error"]
            raise Refused(str(error["code"]), str(error["message"]), str(error["hint"]))
        answer = document["ok"]
    except (ValueError, TypeError, KeyError) as error:
        raise CallFailed(f"the embedded host's answer to {name} is none: {error}") from error
    if not isinstance(answer, dict):
        raise CallFailed(f"the embedded host's answer to {name} is no object")
    return answer
