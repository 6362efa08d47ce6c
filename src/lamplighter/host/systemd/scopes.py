"""Scopes of systemd: a process that is there already gets a control group and a unit of its own.

That is asked of systemd itself, over the socket that ``systemctl`` uses as root as well: it works
without D-Bus's daemon, and starts no program as ``systemd-run`` would. systemd moves the process
when the job that starts the scope is carried out, and tells every client of that socket when the
job is done (``JobRemoved`` of org.freedesktop.systemd1(5)).
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
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lamplighter.model.clock import Clock

MANAGER = DBusAddress(
    "/org/freedesktop/systemd1",
    bus_name="org.freedesktop.systemd1",
    interface="org.freedesktop.systemd1.Manager",
)

#: How often systemd is asked, and how many seconds lie between: it is away for a moment while it
#: executes itself anew.
TRIES, PAUSE = 3, 2.0

#: The most that is read at once, and what of a message tells its size, in bytes; and which byte
#: tells its type (the message format of the D-Bus specification).
CHUNK, HEAD, KIND = 1 << 16, 16, 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope that is to be made. ``before``: the unit that ends before it at the host's stop.

    Its unit is named ``name`` and what makes it unique.
    """

    name: str
    description: str
    before: str

    def request(self, unit: str, pid: int) -> Message:
        """Return the call that makes it under this unit's name, with this process in it."""
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
    """Return when the process is in the scope; ``CallFailed`` when that is not to be had in time.

    ``seconds`` of the clock are for all tries together.
    """
    trouble = f"systemd has not answered within {seconds:g} s"
    try:
        async with clock.timeout(seconds):
            for attempt in range(1, TRIES + 1):
                try:
                    return await _make(scope, pid, socket)
                except (OSError, EOFError, AuthenticationError) as error:
                    trouble = f"systemd does not answer on {socket}: {error}"
                if attempt < TRIES:
                    await clock.sleep(PAUSE)
    except TimeoutError:
        pass
    raise CallFailed(f"no scope could be made for what xl leaves behind: {trouble}")


async def _make(scope: Scope, pid: int, socket: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    with closing(writer):
        authenticator = Authenticator()
        for line in authenticator:
            writer.write(line)
            authenticator.feed(await _chunk(reader))
        writer.write(BEGIN)
        # A try that was cut off may have made its scope, so each has a unit of its own.
        unit = f"{scope.name}-{os.urandom(3).hex()}.scope"
        writer.write(scope.request(unit, pid).serialise(serial=1))
        async for raw in _messages(reader):
            kind = MessageType(raw[KIND])
            if kind is MessageType.error:
                message = Message.from_buffer(raw)
                why = (
                    message.body[0]
                    if message.body
                    else message.header.fields[HeaderFields.error_name]
                )
                raise CallFailed(f"systemd made no scope {scope.name}: {why}")
            if kind is MessageType.signal and b"JobRemoved" in raw and unit.encode() in raw:
                _, _, _, result = Message.from_buffer(raw).body
                if result != "done":
                    raise CallFailed(f"systemd's job for {scope.name} ended as {result!r}")
                return


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield messages as they come, unread: systemd tells each client of all that it does.

    To take every one of them apart would cost more than all else that a start needs of us.
    """
    waiting = b""
    while True:
        while len(waiting) >= HEAD and len(waiting) >= (size := calc_msg_size(waiting[:HEAD])):
            yield waiting[:size]
            waiting = waiting[size:]
        waiting += await _chunk(reader)


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(CHUNK)
    if not chunk:
        raise EOFError("it closed the connection")
    return chunk
