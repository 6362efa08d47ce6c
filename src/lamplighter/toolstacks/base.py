"""The toolstack interface, through which the service creates, destroys and lists domains.

Every call to the toolstack has a deadline. A call that fails raises ``CallFailed`` (or
``CallTimedOut``), and a toolstack that cannot be reached at all raises ``ToolstackUnreachable``:
neither ever means that a domain is off.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from asyncio import Event
    from collections.abc import Iterable, Iterator, Sequence

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition, DomainInfo, ShutdownReason

logger = logging.getLogger(__name__)


class Boot(NamedTuple):
    """One boot of a host: the kernel's id of it, and how many host seconds pass in a real one."""

    id: str
    speed: float = 1.0


class ByHand(NamedTuple):
    """The toolstack's commands for a person to type; empty where there is none."""

    console: str = ""
    unpause: str = ""


class Toolstack(Protocol):
    """What the service needs from a toolstack."""

    @property
    def xenstore_path(self) -> str:
        """The XenStore socket (or device) of the host this toolstack manages."""

    @property
    def by_hand(self) -> ByHand:
        """What a person types, followed by a domain's name."""

    async def boot(self) -> Boot:
        """The boot that the host is in now."""

    async def list(self) -> Sequence[DomainInfo]:
        """Every domain of the hypervisor, including dom0, ordered by domid."""

    async def create(self, definition: Definition, *, ending: Event | None = None) -> None:
        """Create and start the domain from its file; its domid is found in XenStore and listings.

        If the call must wait before it can begin and ``ending`` is set meanwhile, it raises
        ``CallNotStarted``.
        """

    async def being_created(self, definitions: Iterable[Definition]) -> frozenset[str]:
        """The keys of those definitions from which something may be about to create a domain.

        This says nothing about a domain that is listed. For one that is not listed, it says that a
        program that no run of ours waits for is still creating it, or will create it again after a
        reboot.
        """

    async def half_built(self, info: DomainInfo, definition: Definition) -> bool:
        """Whether this ``never_ran`` domain is half built and nothing is creating it any more.

        A domain that was created and is left paused on purpose is complete. False where it cannot
        be determined.
        """

    async def destroy(self, domid: int) -> None:
        """Destroy this incarnation at once; it is not an error if it is already gone."""

    async def press_power(self, domid: int) -> None:
        """Press the ACPI power button of an HVM domain."""

    async def shutdown_reason(self, info: DomainInfo) -> ShutdownReason | None:
        """The shutdown reason of an incarnation that is gone, if the toolstack recorded it."""

    async def reaper_lives(self, info: DomainInfo) -> bool:
        """Whether the process that destroys this incarnation after its shutdown is alive.

        False where it cannot be determined.
        """

    async def close(self) -> None:
        """Release what the toolstack holds open."""


@contextmanager
def logged(call: str, clock: Clock) -> Iterator[None]:
    """Log how long a call lasted, for who wants to see that (``--verbose``)."""
    began, end = clock.monotonic(), "ended"
    try:
        yield
    except BaseException as error:
        end = f"failed ({type(error).__name__})"
        raise
    finally:
        logger.debug("%s %s after %.3f s", call, end, clock.monotonic() - began)
