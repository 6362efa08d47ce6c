"""A run: its plan, the transitions of its domains and how each of them ended.

A plan holds the actions that lead from what is listed to what is wanted, each with its reason. The
journal keeps runs, transitions and results, and ``history`` shows them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.policy import Policy


#: What a shell adds to the number of the signal that ended a program.
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

    ``lost`` is why the journal does not have all of it; only the run itself knows that.
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
    """A run that began and never ended, and where it left the domains that it had begun with.

    ``moved`` holds the newest transition of each domain whose part has no result.
    """

    run: Run
    moved: tuple[Transition, ...] = ()


class LastRecord(NamedTuple):
    """What the journal last wrote of one domain since the host booted; None: nothing yet.

    ``direction`` and ``settled`` belong to ``result``: which way its run went, and when the
    domain's part of it ended.
    """

    name: str
    moved: Transition | None = None
    result: Result | None = None
    direction: Direction | None = None
    settled: datetime | None = None


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


class Direction(Enum):
    """Which way a run goes."""

    UP = "up"
    DOWN = "down"


class Verb(Enum):
    """What a plan does with one domain."""

    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    NOTHING = "nothing"


class Step(NamedTuple):
    """What happens to one domain and why.

    ``outcome`` is set exactly when the verb is NOTHING: how the domain's part ends without
    acting. ``good`` is then what ``Result.good`` will be. ``notes`` are further sentences for a
    person, such as a refused suspend. ``resume`` is where a run that died left the domain, when
    this one goes on from there.
    """

    name: str
    verb: Verb
    reason: str
    policy: Policy
    definition: Definition | None = None
    sighting: DomainInfo | None = None
    outcome: Outcome | None = None
    good: bool = True
    notes: tuple[str, ...] = ()
    resume: Phase | None = None


class Plan(NamedTuple):
    """All steps of one direction, in the order in which they begin."""

    direction: Direction
    steps: tuple[Step, ...]


def exit_status(
    results: Iterable[Result], *, nameless: int = 0, wrong: int = 0, signal: int = 0
) -> int:
    """Return the exit status of a run: of its command, in the journal and to systemd.

    ``signal`` is the number of the one that ended the run early. ``wrong`` is the exit status of
    what is wrong in the configuration, of which a stop of the host used what is sound. ``nameless``
    counts broken definitions of which nobody can say whose they are, in a start of all domains.
    """
    if signal:
        return SIGNALLED + signal
    if wrong:
        return wrong
    return int(nameless > 0 or not all(result.good for result in results))
