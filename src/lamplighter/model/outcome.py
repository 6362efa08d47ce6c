"""How a domain's part of a run ended, and what that means for the command's exit status."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from uuid import UUID


class Outcome(Enum):
    """The end of one domain's part of a run. Never told better than it was seen."""

    CLEAN = "clean"  # it shut itself down after it was asked
    FORCED = "forced"  # it was destroyed, or the power was cut
    STARTED = "started"
    ALREADY = "already"  # it was so before the run
    HELD = "held"
    SKIPPED = "skipped"  # policy or a problem says to let it be
    FAILED = "failed"
    UNKNOWN = "unknown"  # it could not be seen how it ended


class Result(NamedTuple):
    """One domain's outcome in one run.

    ``seconds`` is how long its part took, in host seconds. ``note`` says why, for a person.
    ``good`` is False when the run's exit status must be 1 because of it: a stop that was forced
    although a destroy was asked for is good, a skipped domain that policy leaves is good.
    """

    name: str
    uuid: UUID | None
    domid: int | None
    outcome: Outcome
    seconds: float = 0.0
    note: str = ""
    good: bool = True
