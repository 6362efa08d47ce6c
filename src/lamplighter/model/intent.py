"""Intents and holds: what was last asked of a domain at run time. They survive a host reboot.

Policy is what files say; an intent is set by an action. There are two kinds. *Meant* up or down is
what ``start = "last-state"`` consults; it is set by ``lamplighter up NAME`` and ``down NAME``, or
learned from what another tool or the guest itself did. A domain that another tool has saved or
migrated is *away*: its memory may be continued, so no start of the host creates it afresh over its
disks. A *hold* keeps a domain down, whatever else asks for it to be up, until it is released.

Both are stored under the domain's *key*: the UUID that its definition states, or its name if it
states none. So a domain that was removed and defined again under its old name, with another UUID,
inherits nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from lamplighter.model.domain import Definition


class Meant(Enum):
    """The state a domain is meant to be in, whatever state it is in."""

    UP = "up"
    DOWN = "down"
    AWAY = "away"  # saved or migrated by another tool, and not seen running here since


class Intent(NamedTuple):
    """The state a domain is meant to be in, since when, and who set it or what it was learned from.

    ``boot_id`` and ``domid`` identify the incarnation that existed at that moment, if one did.
    """

    domain: str
    name: str
    meant: Meant
    reason: str
    said_by: str
    at: datetime
    boot_id: str = ""
    domid: int | None = None

    @property
    def description(self) -> str:
        """The intent as a part of a sentence for a person."""
        state = "away" if self.meant is Meant.AWAY else f"meant to be {self.meant.value}"
        return f"{state} since {self.at:%Y-%m-%d %H:%M:%S}: {self.reason}"


#: Who holds a domain whose start has failed again and again.
OURSELVES = "lamplighter"


class Hold(NamedTuple):
    """A domain is kept down: by whom, since when and why."""

    domain: str
    name: str
    reason: str
    said_by: str
    at: datetime

    @property
    def description(self) -> str:
        """The hold as one sentence for a person."""
        return f"held by {self.said_by} since {self.at:%Y-%m-%d %H:%M:%S}: {self.reason}"


class PastHold(NamedTuple):
    """A hold, and when and by whom it was released, if it was."""

    hold: Hold
    released: datetime | None = None
    released_by: str = ""


class Intents(NamedTuple):
    """Every intent and every hold, by the domains' keys.

    ``error`` is the error that kept them from being read; then nothing is known about any domain.
    ``number`` counts the changes, so that an old file is not taken for the newest.
    """

    meant: Mapping[str, Intent] = EMPTY
    holds: Mapping[str, Hold] = EMPTY
    error: str = ""
    number: int = 0

    def hold_of(self, definition: Definition) -> Hold | None:
        """The hold on a domain: under its key, or under its name from when it had no UUID.

        A domain whose definition states no UUID has another one at each start, so a hold on one of
        these UUIDs holds it by its name.
        """
        hold = self.holds.get(definition.key) or self.holds.get(definition.name)
        if hold is None and definition.uuid is None:
            hold = next((one for one in self.holds.values() if one.name == definition.name), None)
        return hold

    def updated(self, intents: Iterable[Intent]) -> Intents:
        """Return a copy with newer intents added; the last one for each domain counts."""
        return self._replace(meant={**self.meant, **{one.domain: one for one in intents}})

    def meant_up(self, definition: Definition) -> bool:
        """Return whether the domain was last meant to be up."""
        intent = self.meant.get(definition.key)
        return intent is not None and intent.meant is Meant.UP

    def away(self, definition: Definition) -> Intent | None:
        """Return since when and why the domain is away; None when it is not."""
        intent = self.meant.get(definition.key)
        return intent if intent is not None and intent.meant is Meant.AWAY else None


#: No intents and no holds.
NO_INTENTS = Intents()
