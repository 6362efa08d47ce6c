"""The embedded host's hypervisor: domains with their domids, memory and states.

It knows no domain names and no files. A domain begins paused. It ends in two steps: first it *shuts
down*, for a reason, and stops executing; then a tool destroys it. While it is torn down it is
*dying*, and it is gone only when nothing refers to its memory any more. Domids are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.errors import CallFailed
from lamplighter.model.domain import Kind

if TYPE_CHECKING:
    from lamplighter.model.domain import ShutdownReason

#: The lowest domid that no domain can have (``DOMID_FIRST_RESERVED``).
FIRST_RESERVED = 0x7FF0

#: The control domain's memory, in MiB.
DOM0_MEMORY = 1024


class NoSuchDomain(CallFailed):
    """There is no domain with this domid, or no longer."""

    code = "no-domain"

    def __init__(self, domid: int) -> None:
        super().__init__(f"there is no domain {domid}")


@dataclass(slots=True, eq=False)
class Domain:
    """One incarnation. ``memory`` is in MiB."""

    domid: int
    uuid: UUID
    kind: Kind
    memory: int
    paused: bool = True
    has_run: bool = False
    shutdown: ShutdownReason | None = None
    dying: bool = False


class Hypervisor:
    """All domains of one host, including the control domain. ``memory`` is in MiB."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._free = memory - DOM0_MEMORY
        self._withheld = 0
        self._last = 0
        self._domains = {
            0: Domain(0, UUID(int=0), Kind.PV, DOM0_MEMORY, paused=False, has_run=True)
        }

    @property
    def free(self) -> int:
        """How much memory a new domain could get, in MiB."""
        return self._free - self._withheld

    def domains(self) -> list[Domain]:
        """Return all domains, ordered by domid."""
        return list(self._domains.values())

    def find(self, domid: int) -> Domain:
        """Return a domain; raise ``NoSuchDomain``."""
        try:
            return self._domains[domid]
        except KeyError:
            raise NoSuchDomain(domid) from None

    def create(self, uuid: UUID, kind: Kind) -> Domain:
        """Create a domain that has no memory yet; ``CallFailed`` when no domid is left."""
        if self._last + 1 >= FIRST_RESERVED:
            raise CallFailed(
                "no domid is left", hint="domids never come back: start the host again"
            )
        self._last += 1
        domain = self._domains[self._last] = Domain(self._last, uuid, kind, 0)
        return domain

    def populate(self, domain: Domain, memory: int) -> None:
        """Give a domain its memory, in MiB; ``CallFailed`` when there is not enough."""
        if memory > self.free:
            raise CallFailed(
                f"cannot allocate memory for domain {domain.domid}: it needs {memory} MiB, "
                f"{self.free} MiB are free",
                hint="stop another domain, or give this one less memory",
            )
        self._free -= memory
        domain.memory = memory

    def forget(self, domain: Domain) -> None:
        """Remove a domain that is gone, and free its memory."""
        del self._domains[domain.domid]
        self._free += domain.memory

    def leave_free(self, memory: int) -> None:
        """Make memory scarce: leave no more than this free, in MiB; replaces an earlier limit."""
        self._withheld = max(0, self._free - memory)
