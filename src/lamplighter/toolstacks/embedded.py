"""The toolstack driver of an embedded host, over its socket (``embedded/toolstack/control``).

Each call has its own connection, so a call that hangs does not delay others as long as fewer than
``CONNECTIONS`` hang, and a caller that gives up leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamplighter.embedded import CONTROL_SOCKET, XENSTORE_SOCKET
from lamplighter.errors import CallFailed, CallTimedOut, ToolstackUnreachable
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.toolstacks.base import Boot, ByHand, logged

if TYPE_CHECKING:
    from asyncio import Event
    from collections.abc import Iterable

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition
    from lamplighter.model.policy import HostSettings
    from lamplighter.toolstacks.base import Toolstack

#: The longest answer, in bytes; a listing of ten thousand domains takes two million.
ANSWER_MAX = 1 << 24

#: The most connections of one client at a time. The host refuses too many (``CONNECTIONS_MAX``),
#: and a Unix socket with a full backlog answers EAGAIN, which asyncio takes for a connection.
CONNECTIONS = 100


def open_toolstack(settings: HostSettings, clock: Clock) -> Toolstack:
    """Return the toolstack of the embedded host in the configured run directory."""
    return EmbeddedToolstack(
        Path(settings.run.value), clock, call_timeout=settings.call_timeout.value
    )


class EmbeddedToolstack:
    """Implements ``toolstacks.base.Toolstack`` for the host whose run directory is ``run``."""

    def __init__(self, run: Path, clock: Clock, *, call_timeout: float) -> None:
        """``call_timeout`` bounds each call, in seconds of ``clock``."""
        self._run = run
        self._control = ControlClient(run / CONTROL_SOCKET, clock, call_timeout)

    @property
    def by_hand(self) -> ByHand:
        """None: its guests have no console and are not paused."""
        return ByHand()

    @property
    def xenstore_path(self) -> str:
        """The XenStore socket of the host."""
        return str(self._run / XENSTORE_SOCKET)

    async def list(self) -> list[DomainInfo]:
        """Every domain of the host, including dom0, ordered by domid."""
        answer = await self._control.call("list")
        try:
            return [
                DomainInfo(
                    int(entry["domid"]),
                    UUID(entry["uuid"]),
                    str(entry["name"]),
                    None if (reason := entry["shutdown"]) is None else ShutdownReason[reason],
                    bool(entry["dying"]),
                    bool(entry["paused"]),
                    bool(entry["begun"]),
                )
                for entry in answer["domains"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise CallFailed(f"the embedded host's listing cannot be read: {error}") from error

    async def create(self, definition: Definition, *, ending: Event | None = None) -> None:
        """Create and start the domain from its file; the call begins at once."""
        await self._control.call("create", path=definition.path)

    async def being_created(self, definitions: Iterable[Definition]) -> frozenset[str]:
        """The keys of those definitions from which the host is creating domains now."""
        answer = await self._control.call("creating")
        paths = answer.get("paths")
        if not isinstance(paths, list):
            raise CallFailed("the embedded host does not report what it is creating")
        return frozenset(one.key for one in definitions if one.path in paths)

    async def half_built(self, info: DomainInfo, definition: Definition) -> bool:
        """Whether creation of this domain died half way; the host needs no ``definition``."""
        answer = await self._control.call("abandoned", domid=info.domid)
        return answer.get("abandoned") is True

    async def destroy(self, domid: int) -> None:
        """Destroy this incarnation at once; it is not an error if it is already gone."""
        try:
            await self._control.call("destroy", domid=domid)
        except Refused as refused:
            if refused.reason != "no-domain":
                raise

    async def press_power(self, domid: int) -> None:
        """Press the ACPI power button of an HVM domain."""
        await self._control.call("press-power", domid=domid)

    async def shutdown_reason(self, info: DomainInfo) -> ShutdownReason | None:
        """The shutdown reason of an incarnation that is gone, if its reaper recorded it."""
        answer = await self._control.call("epitaph", domid=info.domid, uuid=str(info.uuid))
        reason = answer.get("reason")
        return ShutdownReason.__members__.get(str(reason))

    async def reaper_lives(self, info: DomainInfo) -> bool:
        """Whether the reaper, the process xl left running for this incarnation, is alive."""
        answer = await self._control.call("reaper", domid=info.domid)
        return answer.get("lives") is True

    async def boot(self) -> Boot:
        """The boot of the host, and its speed."""
        status = await self._control.call("status")
        boot_id, speed = status.get("boot_id"), status.get("speed")
        if not isinstance(boot_id, str) or not isinstance(speed, int | float):
            raise CallFailed("the embedded host's status cannot be read")
        return Boot(boot_id, float(speed))

    async def close(self) -> None:
        """Do nothing: nothing is held open."""


class Refused(CallFailed):
    """The host reports that a call failed; ``reason`` is the error's stable code."""

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
        answer does not come in time, ``Refused`` when the host reports an error, and
        ``CallFailed`` when what comes is not a valid answer.
        """
        request = json.dumps({"call": name, **arguments}).encode() + b"\n"
        try:
            with logged(f"the embedded host's call {name}", self._clock):
                async with self._clock.timeout(self._call_timeout), self._connections:
                    line = await self._exchange(request)
        except TimeoutError:
            message = f"the embedded host did not answer {name} within {self._call_timeout:g} s"
            raise CallTimedOut(message) from None
        if not line.endswith(b"\n"):
            raise CallFailed(f"the embedded host closed the connection without answering {name}")
        try:
            document = json.loads(line)
            if "error" in document:
                error = document["error"]
                raise Refused(str(error["code"]), str(error["message"]), str(error["hint"]))
            answer = document["ok"]
        except (ValueError, TypeError, KeyError) as error:
            raise CallFailed(
                f"the embedded host's answer to {name} is not valid: {error}"
            ) from error
        if not isinstance(answer, dict):
            raise CallFailed(f"the embedded host's answer to {name} is not an object")
        return answer

    async def _exchange(self, request: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path), limit=ANSWER_MAX)
        except PermissionError as error:
            raise ToolstackUnreachable(
                f"the embedded host at {self._path} refuses access: {error.strerror}",
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
