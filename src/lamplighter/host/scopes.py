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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jeepney import DBusAddress, HeaderFields, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator

from lamplighter.errors import CallFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jeepney import Message

    from lamplighter.model.clock import Clock

#: Where systemd listens for root.
SOCKET = Path("/run/systemd/private")

MANAGER = DBusAddress(
    "/org/freedesktop/systemd1",
    bus_name="org.freedesktop.systemd1",
    interface="org.freedesktop.systemd1.Manager",
)

#: How often systemd is asked, and how many seconds lie between: it is away for a moment while it
#: executes itself anew.
TRIES, PAUSE = 3, 2.0

#: The most that is read at once, in bytes.
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope that is to be made. ``before``: the unit that ends before it at the host's stop.

    Its unit is named ``name`` and what makes it unique: a try that was cut off may have made it
    all the same, and to systemd the same name again would be an error.
    """

    name: str
    description: str
    before: str

    def request(self, pid: int) -> Message:
        """Return the call that makes it, with this process in it."""
        unit = f"{self.name}-{os.urandom(3).hex()}.scope"
        properties: list[tuple[str, tuple[str, Any]]] = [
            ("PIDs", ("au", [pid])),
            ("Description", ("s", self.description)),
            ("Slice", ("s", "system.slice")),
            ("CollectMode", ("s", "inactive-or-failed")),
            ("Before", ("as", [self.before])),
        ]
        body: tuple[Any, ...] = (unit, "fail", properties, [])
        return new_method_call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)


async def make_scope(
    scope: Scope, pid: int, clock: Clock, seconds: float, *, socket: Path = SOCKET
) -> None:
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
        writer.write(scope.request(pid).serialise(serial=1))
        job: str | None = None
        done: dict[str | None, str] = {}
        async for message in _messages(reader):
            fields = message.header.fields
            if fields.get(HeaderFields.reply_serial) == 1:
                if message.header.message_type is MessageType.error:
                    why = message.body[0] if message.body else fields[HeaderFields.error_name]
                    raise CallFailed(f"systemd made no scope {scope.name}: {why}")
                (job,) = message.body
            elif fields.get(HeaderFields.member) == "JobRemoved":
                # It may come before the reply that names the job.
                _, path, _, result = message.body
                done[path] = result
            if job in done:
                if done[job] != "done":
                    raise CallFailed(f"systemd's job for {scope.name} ended as {done[job]!r}")
                return


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    parser = Parser()
    while True:
        while (message := parser.get_next_message()) is not None:
            yield message
        parser.add_data(await _chunk(reader))


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(CHUNK)
    if not chunk:
        raise EOFError("it closed the connection")
    return chunk
