"""What a command is based on: the record, read once, and the state of the host at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import EMPTY
from lamplighter.model.domain_event import Moment
from lamplighter.model.intent import NO_INTENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from lamplighter.errors import JournalError
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.intent import Intents
    from lamplighter.model.policy import Inventory
    from lamplighter.model.run import LastRecord, UnfinishedRun


class Record(NamedTuple):
    """Intents and holds, what runs wrote, and what the monitor saw.

    ``unfinished`` are the runs that have not ended, the oldest first; ``last`` is what was last
    written of each domain since this boot, by name; ``domain_events`` are in their order.
    ``errors`` is what could not be read, and why: intents have their ``error`` then, and runs that
    cannot be read are left out.
    """

    intents: Intents = NO_INTENTS
    unfinished: Sequence[UnfinishedRun] = ()
    last: Mapping[str, LastRecord] = EMPTY
    domain_events: Sequence[DomainEvent] = ()
    errors: Sequence[JournalError] = ()


#: Nothing is on record.
NO_RECORD = Record()


class Found(NamedTuple):
    """What is known of the host at this moment.

    ``being_created``: the keys of the domains that something else is about to create;
    ``protected``: the domids that no stop may touch.
    """

    inventory: Inventory
    domains: Sequence[DomainInfo]
    boot_id: str
    now: datetime
    record: Record = NO_RECORD
    being_created: frozenset[str] = frozenset()
    protected: frozenset[int] = frozenset()

    @property
    def moment(self) -> Moment:
        """When this was found, as intents have it."""
        return Moment(self.now, self.boot_id)
