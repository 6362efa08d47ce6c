"""Puts an existing process into a systemd scope: a control group and a unit of its own.

The request goes to systemd itself, over the socket that ``systemctl`` uses as root as well: that
works without the D-Bus daemon, and starts no program as ``systemd-run`` would. systemd moves the
process when the job that starts the scope is carried out, and signals every client of that socket
when the job is done (``JobRemoved`` of org.freedesktop.systemd1(5)).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.low_level import calc_msg_size

from lamplighter.errors import CallFailed

if TYPE_CHECKING:
    from pathlib import Path

    from lamplighter.model.clock import Clock

MANAGER = DBusAddress(
    "/org/freedesktop/systemd1",
    bus_name="org.freedesktop.systemd1",
    interface="org.freedesktop.systemd1.Manager",
)

#: How often the request is tried, and the pause in seconds: systemd does not answer for a moment
#: while it re-executes itself.
TRIES, PAUSE = 3, 2.0

#: The most that is read at once and the part of a message that has its size, in bytes; and which
#: byte is its type (the message format of the D-Bus specification).
CHUNK, HEAD, KIND = 1 << 16, 16, 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope to be created. ``before`` is the unit that is stopped before it at the host's stop.

    The name of its unit is ``name`` and a random suffix.
    """

    name: str
    description: str
    before: str

    def request(self, unit: str, pid: int) -> Message:
        """Return the call that creates the scope as this unit, with this process in it."""
        properties: list[tuple[str, tuple[str, Any]]] = [
            ("PIDs", ("au", [pid])),
            ("Description", ("s", self.description)),
            ("Slice", ("s", "system.slice")),
            ("CollectMode", ("s", "inactive-or-failed")),
            ("Before", ("as", [self.before])),
        ]
        body: tuple[Any, ...] = (unit, "fail", properties, [])
        return new_method_call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)


async def make_scope(scope: Scope, pid: int, clock: Clock, seconds: float, *, socket: Path) -> None:
    """Return when the process is in the scope; ``CallFailed`` if that is not done in time.

    ``seconds`` of the clock are for all tries together.
    """
    message = f"systemd has not answered within {seconds:g} s"
    try:
        async with clock.timeout(seconds):
            for attempt in range(1, TRIES + 1):
                try:
                    return await _make(scope, pid, socket)
                except (OSError, EOFError, AuthenticationError) as error:
                    message = f"systemd does not answer on {socket}: {error}"
                if attempt < TRIES:
                    await clock.sleep(PAUSE)
    except TimeoutError:
        pass
    raise CallFailed(f"no scope could be made for what xl leaves behind: {message}")


async def _make(scope: Scope, pid: int, socket: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    with closing(writer):
        authenticator = Authenticator()
        for line in authenticator:
            writer.write(line)
            authenticator.feed(await _chunk(reader))
        writer.write(BEGIN)
        # A try that was cut off may have created its scope, so each try has a unit of its own.
        unit = f"{scope.name}-{os.urandom(3).hex()}.scope"
        writer.write(scope.request(unit, pid).serialise(serial=1))
        waiting = b""
        while True:
            # systemd signals each client everything it does. Parsing all of it would cost more than
            # everything else that we do for a start.
            while len(waiting) < HEAD or len(waiting) < (size := calc_msg_size(waiting[:HEAD])):
                waiting += await _chunk(reader)
            raw, waiting = waiting[:size], waiting[size:]
            kind = MessageType(raw[KIND])
            if kind is MessageType.error:
                message = Message.from_buffer(raw)
                name = message.header.fields.get(HeaderFields.error_name)
                reason = message.body[0] if message.body else name
                raise CallFailed(f"systemd made no scope {scope.name}: {reason}")
            if kind is MessageType.signal and b"JobRemoved" in raw and unit.encode() in raw:
                _, _, _, result = Message.from_buffer(raw).body
                if result != "done":
                    raise CallFailed(f"systemd's job for {scope.name} ended as {result!r}")
                return


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(CHUNK)
    if not chunk:
        raise EOFError("it closed the connection")
    return chunk
