"""Runs: the transitions of each domain and the result of each domain.

The journal stores them, and ``history`` shows them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.lifecycle import Phase


#: A shell adds this to the number of the signal that ended a program.
SIGNALLED = 128


class Transition(NamedTuple):
    """One domain moved from one phase to another; on disk before the action it announces."""

    name: str
    uuid: UUID | None
    domid: int | None
    before: Phase
    after: Phase
    detail: str
    at: datetime


class Run(NamedTuple):
    """One execution of a plan. ``ended`` and ``exit`` are None while it runs or if it died.

    ``lost`` is why the journal does not have the whole run; only the run itself knows that.
    """

    id: int
    direction: Direction
    boot_id: str
    started: datetime
    ended: datetime | None
    exit: int | None
    results: tuple[Result, ...] = ()
    lost: str = ""


class UnfinishedRun(NamedTuple):
    """A run that began and never ended, and the phases in which it left its domains.

    ``moved`` holds the newest transition of each domain that has no result.
    """

    run: Run
    moved: tuple[Transition, ...] = ()


class LastRecord(NamedTuple):
    """The last entries of one domain in the journal since the host booted; None: none yet.

    ``direction`` and ``settled`` belong to ``result``: the direction of its run, and when the
    domain's part of that run ended.
    """

    name: str
    moved: Transition | None = None
    result: Result | None = None
    direction: Direction | None = None
    settled: datetime | None = None


class Outcome(Enum):
    """How one domain's part of a run ended. Never better than what was observed."""

    CLEAN = "clean"  # it shut itself down after it was asked
    FORCED = "forced"  # it was destroyed, or its power was cut
    STARTED = "started"
    ALREADY = "already"  # it was in the wanted state before the run
    HELD = "held"
    SKIPPED = "skipped"  # left alone because of policy or a problem
    FAILED = "failed"
    UNKNOWN = "unknown"  # how it ended was not observed


class Result(NamedTuple):
    """One domain's outcome in one run.

    ``seconds`` is how long its part took, in host seconds. ``note`` explains the outcome to a
    person. ``good`` is False when the run's exit status must be 1 because of it: a stop that was
    forced because policy asks for a destroy is good, and so is a domain that policy skips.
    """

    name: str
    uuid: UUID | None
    domid: int | None
    outcome: Outcome
    seconds: float = 0.0
    note: str = ""
    good: bool = True


class Direction(Enum):
    """Whether a run starts or stops domains."""

    UP = "up"
    DOWN = "down"


def exit_status(
    results: Iterable[Result], *, unnamed_definitions: int = 0, wrong: int = 0, signal: int = 0
) -> int:
    """Return the exit status of a run: of its command, in the journal and for systemd.

    ``signal`` is the number of the signal that ended the run early. ``wrong`` is the exit status of
    a configuration error, when a stop of the host went on with the valid part of the file.
    ``unnamed_definitions`` counts the definitions too broken to name their domain, in a start of
    all domains.
    """
    if signal:
        return SIGNALLED + signal
    if wrong:
        return wrong
    return int(unnamed_definitions > 0 or not all(result.good for result in results))
