"""A domain came or went: what the monitor saw, when, and as far as can be told on whose account.

It is about incarnations. A guest that reboots *went* as one domid and *came* as another; a domain
that shut down went at that moment, whoever takes its remains away later.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.domain import ShutdownReason


class Moment(NamedTuple):
    """When something was seen or said, and in which boot of the host."""

    at: datetime
    boot_id: str


class Change(Enum):
    """Which way a domain passed."""

    CAME = "came"
    WENT = "went"


class Initiator(Enum):
    """On whose account."""

    US = "lamplighter"
    GUEST = "guest"
    TOOL = "tool"  # another one than Lamplighter
    CRASH = "crash"
    UNKNOWN = "unknown"


class DomainEvent(NamedTuple):
    """One incarnation came or went.

    ``why`` is for a person. ``end`` is why it had shut down, where that is known; None for one that
    came, or that was taken away while it ran.
    """

    way: Change
    name: str
    uuid: UUID
    domid: int
    by: Initiator
    why: str
    at: datetime
    boot_id: str
    end: ShutdownReason | None = None


class MonitorState(NamedTuple):
    """What a monitor knows of one boot of the host.

    ``since`` it watches; ``looked`` is when it last made a listing, None before the first;
    ``trouble`` is why it can see nothing now. ``domain_events`` has the last one of each domain.
    """

    boot_id: str
    since: datetime
    looked: datetime | None
    trouble: str
    domain_events: tuple[DomainEvent, ...]
