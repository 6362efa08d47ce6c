"""What is on record of a host when a command begins: read once, and decided on as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import EMPTY
from lamplighter.model.intent import NO_INTENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamplighter.errors import JournalError
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.intent import Intents
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
