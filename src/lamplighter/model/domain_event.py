"""Domain events: an incarnation appeared or ended, as the monitor saw it; when, and who caused it.

Events are about incarnations. A guest that reboots *went* as one domid and *came* as another; a
domain that shut down went at that moment, regardless of who destroys it later.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.domain import ShutdownReason


class Moment(NamedTuple):
    """When something was seen or requested, and during which boot of the host."""

    at: datetime
    boot_id: str


class Change(Enum):
    """Whether the incarnation appeared or ended."""

    CAME = "came"
    WENT = "went"


class Initiator(Enum):
    """Who or what caused the event."""

    US = "lamplighter"
    GUEST = "guest"
    TOOL = "tool"  # a tool other than Lamplighter
    CRASH = "crash"
    UNKNOWN = "unknown"


class DomainEvent(NamedTuple):
    """One incarnation came or went.

    ``why`` is text for a person. ``end`` is its shutdown reason, where that is known; None for one
    that came, or that was destroyed while it ran.
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
    """What a monitor knows about one boot of the host.

    ``since`` is when it began to watch; ``listed_at`` is when it last listed the domains, None
    before the first listing; ``error`` is the error that keeps it from listing them now.
    ``last_events`` has the last event of each domain.
    """

    boot_id: str
    since: datetime
    listed_at: datetime | None
    error: str
    last_events: tuple[DomainEvent, ...]
