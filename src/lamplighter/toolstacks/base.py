"""The interface of a toolstack: what creates, destroys and lists domains.

Every method is one call to the toolstack with a deadline. A call that fails raises
``CallFailed`` (or ``CallTimedOut``), and a toolstack that cannot be reached at all raises
``ToolstackUnreachable``: neither ever means that a domain is off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import Event
    from collections.abc import Sequence

    from lamplighter.model.domain import Definition, DomainInfo, ShutdownReason


class Toolstack(Protocol):
    """What the service needs from a toolstack."""

    @property
    def name(self) -> str:
        """``xl`` or ``embedded``."""

    @property
    def xenstore_path(self) -> str:
        """The XenStore socket (or device) of the host this toolstack manages."""

    async def list(self) -> Sequence[DomainInfo]:
        """Every domain the hypervisor has, dom0 among them, in the order of domids."""

    async def create(self, definition: Definition, *, ending: Event | None = None) -> None:
        """Create and start the domain from its file. XenStore and a listing tell its domid.

        What has to be waited for before it can begin is waited for until ``ending`` is set, and
        no longer: ``CallNotBegun``.
        """

    async def creating(self) -> frozenset[str]:
        """The definitions (paths) from which something may be about to make a domain.

        Of a domain that is listed this says nothing. Of one that is not, it says that a program
        which no run of ours waits for still creates it, or creates it anew after a reboot.
        """

    async def half_built(self, sighting: DomainInfo, definition: Definition) -> bool:
        """Whether nothing creates this ``never_ran`` domain any more and nobody has finished it.

        What was created and is left paused on purpose was finished. Where it cannot be told, no.
        """

    async def destroy(self, domid: int) -> None:
        """Take this incarnation away at once; one that is gone already is no error."""

    async def press_power(self, domid: int) -> None:
        """Press the ACPI power button of an HVM domain."""

    async def shutdown_reason(self, sighting: DomainInfo) -> ShutdownReason | None:
        """Why an incarnation that vanished had shut down, if the toolstack kept a record."""

    async def reaper_lives(self, sighting: DomainInfo) -> bool:
        """Whether the process lives that takes this incarnation apart when it has shut down.

        Where it cannot be told, no.
        """

    async def close(self) -> None:
        """Let go of what the toolstack holds open."""
