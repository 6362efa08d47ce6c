"""Runs and transitions, as the journal keeps them and ``history`` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.outcome import Result
    from lamplighter.model.plan import Direction


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
