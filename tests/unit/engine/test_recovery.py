"""What is concluded about runs that died, and that no interruption of that changes it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from lamplighter.engine import recovery
from lamplighter.engine.recovery import Close, HostState, Settle
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Run, Transition, UnfinishedRun

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW, BEFORE = "boot-2", "boot-1"
UUIDS = {name: UUID(int=number) for number, name in enumerate(("web", "db", "mail"), 1)}


def left(after: Phase, name: str = "web", domid: int | None = 4, detail: str = "") -> Transition:
    return Transition(name, UUIDS[name], domid, Phase.UP, after, detail, AT)


def dead(
    direction: Direction, *moved: Transition, boot_id: str = NOW, number: int = 1
) -> UnfinishedRun:
    return UnfinishedRun(Run(number, direction, boot_id, AT, None, None), moved)


def seen(name: str = "web", domid: int = 4, shutdown: ShutdownReason | None = None) -> DomainInfo:
    return DomainInfo(domid, UUIDS[name], name, shutdown=shutdown)


def concluded(
    end: UnfinishedRun, *domains: DomainInfo, reason: ShutdownReason | None = None
) -> Result:
    settle, close = recovery.steps([end], HostState(NOW, domains, {4: reason}))
    assert isinstance(settle, Settle)
    assert close == Close(end.run.id)
    return settle.result


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.BOOTING])
def test_a_start_whose_domain_runs_has_started(phase: Phase) -> None:
    result = concluded(dead(Direction.UP, left(phase, domid=None)), seen(domid=9))
    assert (result.outcome, result.good) == (Outcome.STARTED, True)
    assert "the run died while it was" in result.note
    assert "domid 9" in result.note


def test_a_start_whose_domain_is_not_there_is_not_known() -> None:
    result = concluded(dead(Direction.UP, left(Phase.CREATING, domid=None)))
    assert (result.outcome, result.good) == (Outcome.UNKNOWN, False)


@pytest.mark.parametrize(
    ("phase", "reason", "outcome", "good"),
    [
        (Phase.ASKED, ShutdownReason.POWEROFF, Outcome.CLEAN, True),
        (Phase.ACKNOWLEDGED, ShutdownReason.POWEROFF, Outcome.CLEAN, True),
        (Phase.ENDED, ShutdownReason.CRASH, Outcome.FAILED, False),
        (Phase.ACKNOWLEDGED, None, Outcome.UNKNOWN, False),
        (Phase.FORCING, None, Outcome.FORCED, False),
    ],
)
def test_a_stop_whose_domain_is_gone_is_told_no_better_than_it_is_known(
    phase: Phase, reason: ShutdownReason | None, outcome: Outcome, good: bool
) -> None:
    result = concluded(dead(Direction.DOWN, left(phase)), reason=reason)
    assert (result.outcome, result.good) == (outcome, good)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(ShutdownReason.POWEROFF, Outcome.FORCED), (ShutdownReason.CRASH, Outcome.FAILED)],
)
def test_a_guest_that_forced_its_own_end_is_not_called_clean_by_the_next_run(
    reason: ShutdownReason, outcome: Outcome
) -> None:
    forced = left(Phase.ACKNOWLEDGED, detail='forced by the guest: "not off after 150 s"')
    result = concluded(dead(Direction.DOWN, forced), reason=reason)
    assert (result.outcome, result.good) == (outcome, False)


def test_a_stop_whose_domain_still_runs_has_not_ended_it() -> None:
    result = concluded(dead(Direction.DOWN, left(Phase.FORCING)), seen())
    assert (result.outcome, result.good) == (Outcome.UNKNOWN, False)
    assert "ran as domid 4" in result.note


def test_a_domain_that_has_shut_down_and_is_still_listed_has_its_own_reason() -> None:
    listed = seen(shutdown=ShutdownReason.POWEROFF)
    assert concluded(dead(Direction.DOWN, left(Phase.ASKED)), listed).outcome is Outcome.CLEAN


def test_what_another_boot_left_behind_went_with_it() -> None:
    end = dead(Direction.DOWN, left(Phase.FORCING), boot_id=BEFORE)
    result = concluded(end, seen())
    assert result.outcome is Outcome.UNKNOWN
    assert "the host went down" in result.note
    assert recovery.resume_points([end], NOW) == {}
    assert recovery.gone([end], NOW, []) == []


def test_the_newest_record_of_a_domain_says_where_it_is() -> None:
    older = dead(Direction.UP, left(Phase.BOOTING), left(Phase.BOOTING, "db"), number=1)
    newer = dead(Direction.DOWN, left(Phase.ACKNOWLEDGED), number=2)
    resume_points = recovery.resume_points([older, newer], NOW)
    assert {name: one.after for name, one in resume_points.items()} == {
        "web": Phase.ACKNOWLEDGED,
        "db": Phase.BOOTING,
    }


def test_only_stops_whose_domains_are_gone_need_an_epitaph() -> None:
    up = dead(Direction.UP, left(Phase.BOOTING, "mail", 6))
    down = dead(Direction.DOWN, left(Phase.ASKED), left(Phase.ASKED, "db", 5), number=2)
    assert recovery.gone([up, down], NOW, [seen("db", 5)]) == [4]


class Record:
    """The part of the journal that recovery reads and completes."""

    def __init__(self, *ends: UnfinishedRun) -> None:
        self.ends = list(ends)
        self.settled: dict[tuple[int, str], Result] = {}
        self.closed: list[int] = []

    def loose(self) -> list[UnfinishedRun]:
        return [
            end._replace(
                moved=tuple(m for m in end.moved if (end.run.id, m.name) not in self.settled)
            )
            for end in self.ends
            if end.run.id not in self.closed
        ]

    def write(self, step: Settle | Close) -> None:
        if isinstance(step, Settle):
            assert (step.run, step.result.name) not in self.settled, "written twice"
            self.settled[step.run, step.result.name] = step.result
        else:
            self.closed.append(step.run)


def record() -> Record:
    up = dead(Direction.UP, left(Phase.CREATING, "mail", None), number=1, boot_id=BEFORE)
    down = dead(Direction.DOWN, left(Phase.FORCING), left(Phase.ASKED, "db", 5), number=2)
    again = dead(Direction.DOWN, left(Phase.ACKNOWLEDGED, "db", 5), number=3)
    return Record(up, down, again)


def test_being_interrupted_after_any_step_leads_to_the_same_record() -> None:
    world = HostState(NOW, [seen("db", 5)], {4: None})
    whole = record()
    for step in recovery.steps(whole.loose(), world):
        whole.write(step)
    assert whole.closed == [1, 2, 3]
    assert len(whole.settled) == 4

    for survived in range(8):
        broken = record()
        for _, step in zip(range(survived), recovery.steps(broken.loose(), world), strict=False):
            broken.write(step)
        for step in recovery.steps(broken.loose(), world):
            broken.write(step)
        assert (broken.settled, broken.closed) == (whole.settled, whole.closed), survived
        assert list(recovery.steps(broken.loose(), world)) == []
