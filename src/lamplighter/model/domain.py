"""Domains: as their definitions describe them, and as the toolstack lists them.

A domain is identified by its UUID; its name is a label, and its domid identifies one
*incarnation*. The toolstack gives a domain whose definition states no UUID a new one at every
start, so such a domain is identified by the UUID of its incarnation where one is on record and
listed, whatever its name is by now, and else by its name. ``Definition.matches`` is the one place
that decides whether a listed domain is the defined one.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from lamplighter.model.problem import Location

#: The name that xl prints for a domain whose name XenStore does not have (any more).
NAMELESS = "(null)"

#: The domid of the control domain, which is never a guest.
DOM0 = 0

#: The default for mappings: no entries.
EMPTY: Mapping[Any, Any] = MappingProxyType({})

#: A value of an xl.cfg: a string, a number, or a list of values.
Value = str | int | list["Value"]


class Kind(Enum):
    """How a domain is virtualised; this determines how it can be asked to stop."""

    PV = "pv"
    PVH = "pvh"
    HVM = "hvm"


class ShutdownReason(Enum):
    """Why a domain shut down, with the hypervisor's own number (xen/include/public/sched.h)."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3
    WATCHDOG = 4
    SOFT_RESET = 5
    UNKNOWN = -1


class DomainInfo(NamedTuple):
    """One domain in one listing of the toolstack.

    ``shutdown`` is None while the domain runs, blocks or is paused. ``dying``: the hypervisor is
    tearing it down. ``name`` is empty when XenStore does not have it: not yet, while the domain is
    being created, or no longer (``(null)`` in xl's output). ``has_run``: it has used CPU time.
    """

    domid: int
    uuid: UUID
    name: str
    shutdown: ShutdownReason | None = None
    dying: bool = False
    paused: bool = False
    has_run: bool = True

    @property
    def running(self) -> bool:
        """True while the domain can still execute: neither shut down nor dying."""
        return self.shutdown is None and not self.dying

    @property
    def never_ran(self) -> bool:
        """True while it has never executed: being created, created paused, or left half built."""
        return self.running and self.paused and not self.has_run


class Definition(NamedTuple):
    """One parsed definition file. ``values`` holds all its keys, known or not.

    ``incarnation`` is the UUID that the toolstack gave the incarnation that is listed now, where
    the file states none (``engine/naming.identify``).
    """

    name: str
    uuid: UUID | None
    kind: Kind
    path: str
    values: Mapping[str, Value] = EMPTY
    locations: Mapping[str, Location] = EMPTY
    incarnation: UUID | None = None

    @property
    def key(self) -> str:
        """The key for intents and holds: the UUID that the file states, else the name."""
        return str(self.uuid) if self.uuid is not None else self.name

    @property
    def known_by(self) -> UUID | str:
        """What identifies it in a listing: a UUID, else the name."""
        return self.uuid or self.incarnation or self.name

    @property
    def restarts(self) -> bool:
        """True when ``on_poweroff`` has the toolstack create the domain again after a power-off."""
        return str(self.values.get("on_poweroff", "")).endswith("restart")

    def matches(self, info: DomainInfo) -> bool:
        """Return whether a listed domain is this one: by UUID where one is known, else by name."""
        return self.known_by in (info.uuid, info.name)


class Listing:
    """The domains of one listing, indexed by UUID and by name, because a thousand are looked up.

    ``number`` counts the listings of one observer.
    """

    def __init__(self, domains: Sequence[DomainInfo], number: int = 0) -> None:
        self.domains = domains
        self.number = number
        self._all: dict[UUID | str, list[DomainInfo]] = {}
        self._newest: dict[UUID | str, DomainInfo] = {}
        for one in domains:
            self._all.setdefault(one.uuid, []).append(one)
            self._all.setdefault(one.name, []).append(one)
        # The newest comes last: one that is being torn down may be listed beside its successor.
        for one in sorted(domains, key=lambda one: (one.running, one.domid)):
            self._newest[one.uuid] = self._newest[one.name] = one

    def all_of(self, domain: UUID | str) -> Sequence[DomainInfo]:
        """Return every incarnation with this UUID or name, in the order of the listing."""
        return self._all.get(domain, ())

    def newest(self, domain: UUID | str) -> DomainInfo | None:
        """Return the newest incarnation with this UUID or name."""
        return self._newest.get(domain)
