"""The toolstack of an embedded host, over its control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamplighter.embedded import CONTROL_SOCKET, XENSTORE_SOCKET
from lamplighter.errors import CallFailed
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.toolstacks.control_client import ControlClient, Refused

if TYPE_CHECKING:
    from asyncio import Event
    from pathlib import Path

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition


class EmbeddedToolstack:
    """Implements ``toolstacks.base.Toolstack`` for the host that runs in ``run``."""

    def __init__(self, run: Path, clock: Clock, *, call_timeout: float) -> None:
        """``call_timeout`` bounds each call, in seconds of ``clock``."""
        self._run = run
        self._control = ControlClient(run / CONTROL_SOCKET, clock, call_timeout)

    @property
    def name(self) -> str:
        """``embedded``."""
        return "embedded"

    @property
    def xenstore_path(self) -> str:
        """The XenStore socket of the host."""
        return str(self._run / XENSTORE_SOCKET)

    async def list(self) -> list[DomainInfo]:
        """Every domain the host has, dom0 among them, in the order of domids."""
        answer = await self._control.call("list")
        try:
            return [_sighting(entry) for entry in answer["domains"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CallFailed(f"the embedded host's listing cannot be read: {error}") from error

    async def create(self, definition: Definition, *, ending: Event | None = None) -> None:
        """Create and start the domain from its file; it begins at once."""
        await self._control.call("create", path=definition.path)

    async def creating(self) -> frozenset[str]:
        """The definitions (paths) from which the host is creating domains at this moment."""
        answer = await self._control.call("creating")
        paths = answer.get("paths")
        if not isinstance(paths, list):
            raise CallFailed("the embedded host does not tell what it is creating")
        return frozenset(map(str, paths))

    async def half_built(self, sighting: DomainInfo, definition: Definition) -> bool:
        """Whether what created this domain has died over it; ``definition`` is known there."""
        answer = await self._control.call("abandoned", domid=sighting.domid)
        return answer.get("abandoned") is True

    async def destroy(self, domid: int) -> None:
        """Take this incarnation away at once; one that is gone already is no error."""
        try:
            await self._control.call("destroy", domid=domid)
        except Refused as refused:
            if refused.reason != "no-domain":
                raise

    async def press_power(self, domid: int) -> None:
        """Press the ACPI power button of an HVM domain."""
        await self._control.call("press-power", domid=domid)

    async def shutdown_reason(self, sighting: DomainInfo) -> ShutdownReason | None:
        """Why an incarnation that vanished had shut down, if its reaper wrote it down."""
        answer = await self._control.call("epitaph", domid=sighting.domid, uuid=str(sighting.uuid))
        reason = answer.get("reason")
        return ShutdownReason.__members__.get(str(reason))

    async def reaper_lives(self, sighting: DomainInfo) -> bool:
        """Whether the process that xl left behind for this incarnation lives."""
        answer = await self._control.call("reaper", domid=sighting.domid)
        return answer.get("lives") is True

    async def boot_id(self) -> str:
        """Which boot of the host this is."""
        return str((await self._status())["boot_id"])

    async def speed(self) -> float:
        """How many host seconds pass in a real one."""
        return float((await self._status())["speed"])

    async def close(self) -> None:
        """Nothing is held open."""

    async def _status(self) -> dict[str, Any]:
        status = await self._control.call("status")
        if not isinstance(status.get("boot_id"), str) or not isinstance(
            status.get("speed"), int | float
        ):
            raise CallFailed("the embedded host's status cannot be read")
        return status


def _sighting(entry: dict[str, Any]) -> DomainInfo:
    """Read one entry of a listing; ``KeyError``, ``TypeError`` or ``ValueError``."""
    shutdown = entry["shutdown"]
    return DomainInfo(
        int(entry["domid"]),
        UUID(entry["uuid"]),
        str(entry["name"]),
        None if shutdown is None else ShutdownReason[shutdown],
        bool(entry["dying"]),
        bool(entry["paused"]),
        bool(entry["begun"]),
    )
