"""Intent: what was last asked of a domain at run time. It outlives the host's reboot.

Policy is what files say; intent is a word said once. There are two kinds. *Meant* up or down is
what ``start = "last-state"`` asks for; it is said by ``lamplighter up NAME`` and ``down NAME``, or
learned from what another tool or the guest itself did. A *hold* keeps a domain down whatever else
says that it should be up, until it is released.

Both are kept under the domain's *key*: the UUID that its definition states, or its name where it
states none. So a domain that was removed and defined anew under its old name inherits nothing.
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
    """What a domain is meant to be, whatever it is."""

    UP = "up"
    DOWN = "down"


class Intent(NamedTuple):
    """What a domain is meant to be, since when, and who said so or what it was learned from.

    ``boot_id`` and ``domid`` name the incarnation that was there when it was said, if one was.
    """

    domain: str
    name: str
    meant: Meant
    reason: str
    said_by: str
    at: datetime
    boot_id: str = ""
    domid: int | None = None


class Hold(NamedTuple):
    """A domain is kept down: who wants that, since when and why."""

    domain: str
    name: str
    reason: str
    said_by: str
    at: datetime

    @property
    def told(self) -> str:
        """The whole of it, for a person."""
        return f"held by {self.said_by} since {self.at:%Y-%m-%d %H:%M:%S}: {self.reason}"


class PastHold(NamedTuple):
    """A hold, and when and by whom it was released, if it was."""

    hold: Hold
    released: datetime | None = None
    released_by: str = ""


class Intents(NamedTuple):
    """Every intent and every hold, by the domains' keys.

    ``trouble`` says why they could not be read; then nothing is known of any domain.
    """

    meant: Mapping[str, Intent] = EMPTY
    holds: Mapping[str, Hold] = EMPTY
    trouble: str = ""

    def hold_of(self, definition: Definition) -> Hold | None:
        """The hold on a domain: under its key, or under its name from when it had no UUID."""
        return self.holds.get(definition.key) or self.holds.get(definition.name)

    def with_these(self, intents: Iterable[Intent]) -> Intents:
        """Return all of it with what has been said since; the last word on a domain counts."""
        return self._replace(meant={**self.meant, **{one.domain: one for one in intents}})

    def meant_up(self, definition: Definition) -> bool:
        """Say whether the domain was last meant to be up."""
        intent = self.meant.get(definition.key)
        return intent is not None and intent.meant is Meant.UP


#: Nothing was ever said.
NO_INTENTS = Intents()
