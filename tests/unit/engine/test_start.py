"""One domain's start, event by event."""

from __future__ import annotations

from uuid import UUID

import pytest

from lamplighter.engine import start, timing
from lamplighter.engine.events import (
    Action,
    CheckCreator,
    Create,
    Created,
    CreatorChecked,
    Event,
    Finish,
    HeldMeanwhile,
    Interrupted,
    Listed,
    ListingFailed,
    NotListed,
    PoweroffFeature,
    Relist,
    Tick,
    WatchNodes,
)
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Policy, Setting
from lamplighter.model.run import Outcome

WEB = DomainInfo(7, UUID(int=1), "web")
POLICY = Policy(start_timeout=Setting(120.0))


class Climb:
    """Feeds an ascent and keeps what it wants done."""

    def __init__(self, resume: Phase | None = None, domid: int | None = None) -> None:
        self.state, actions = start.begin(POLICY, 0.0, resume=resume, domid=domid)
        self.actions: list[Action] = list(actions)

    def feed(self, *events: Event) -> Climb:
        for event in events:
            self.state, actions = start.step(self.state, event)
            self.actions.extend(actions)
        return self

    @property
    def finish(self) -> Finish | None:
        ends = [action for action in self.actions if isinstance(action, Finish)]
        return ends[0] if ends else None


def test_a_start_ends_when_the_kernel_advertises_itself() -> None:
    climb = Climb().feed(Created(1.0, 7))
    assert isinstance(climb.actions[1], Create)
    assert climb.actions[-1] == WatchNodes(7)
    climb.feed(PoweroffFeature(1.1, 7, None), Listed(2.0, WEB))
    assert climb.finish is None
    climb.feed(PoweroffFeature(4.0, 7, supported=True))
    assert climb.finish == Finish(Outcome.STARTED)


def test_a_guest_that_says_nothing_counts_as_started_with_a_note() -> None:
    climb = Climb().feed(Created(50.0, 7), Tick(169.0))
    assert climb.finish is None
    climb.feed(Tick(170.0))
    assert climb.finish is not None
    assert climb.finish.outcome is Outcome.STARTED
    assert climb.finish.good
    assert "did not advertise itself within 120 s" in climb.finish.note


def test_a_call_that_failed_and_left_nothing_is_a_failure() -> None:
    climb = Climb().feed(Created(1.0, None, "no memory"))
    assert climb.actions[-1] == Relist()
    climb.feed(NotListed(1.5))
    assert climb.finish == Finish(Outcome.FAILED, "no memory", good=False)


def test_a_call_that_failed_may_have_worked() -> None:
    climb = Climb().feed(Created(1.0, None, "timed out"), Listed(1.5, WEB))
    assert climb.actions[-1] == WatchNodes(7)
    climb.feed(PoweroffFeature(3.0, 7, supported=False))
    assert climb.finish == Finish(Outcome.STARTED)


def test_a_call_that_failed_and_cannot_be_checked_is_unknown() -> None:
    climb = Climb().feed(
        Created(1.0, None, "timed out"), ListingFailed(2.0, "xl hangs"), Tick(121.0)
    )
    assert climb.finish is not None
    assert climb.finish.outcome is Outcome.UNKNOWN


def test_a_crash_while_booting_is_a_failure() -> None:
    crashed = WEB._replace(shutdown=ShutdownReason.CRASH)
    climb = Climb().feed(Created(1.0, 7), Listed(2.0, crashed))
    assert climb.finish == Finish(
        Outcome.FAILED, "it ended while it was starting: crash", good=False
    )


def test_a_reboot_while_booting_is_followed() -> None:
    rebooting = WEB._replace(shutdown=ShutdownReason.REBOOT)
    climb = Climb().feed(Created(1.0, 7), Listed(2.0, rebooting), NotListed(2.5))
    assert climb.finish is None
    climb.feed(Listed(5.0, WEB._replace(domid=8)), PoweroffFeature(7.0, 8, supported=True))
    assert climb.finish == Finish(Outcome.STARTED)


def test_what_vanishes_while_booting_has_failed_once_the_gap_is_over() -> None:
    climb = Climb().feed(Created(1.0, 7), NotListed(2.0), Tick(2.0 + timing.REBOOT_GAP))
    assert climb.finish is not None
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.FAILED, False)


def test_an_interrupted_start_shows_what_was_done() -> None:
    before = Climb().feed(Interrupted(0.0, "SIGTERM"))
    after = Climb().feed(Created(1.0, 7), Interrupted(2.0, "SIGTERM"))
    assert before.finish == Finish(Outcome.SKIPPED, "not started: SIGTERM", good=False)
    assert after.finish is not None
    assert after.finish.outcome is Outcome.STARTED


@pytest.mark.parametrize("error", ["", "xl create was killed"])
def test_an_interrupted_start_that_may_have_created_it_does_not_call_it_not_started(
    error: str,
) -> None:
    climb = Climb().feed(Created(1.0, None, error), Interrupted(2.0, "SIGTERM"))
    assert climb.finish is not None
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.UNKNOWN, False)
    assert "SIGTERM" in climb.finish.note
    assert error in climb.finish.note


def test_an_interrupted_start_does_not_say_not_started_of_what_another_creates() -> None:
    climb = Climb(resume=Phase.CREATING).feed(Interrupted(2.0, "SIGTERM"))
    assert climb.finish is not None
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.UNKNOWN, False)


def test_what_was_created_and_never_listed_is_reported() -> None:
    climb = Climb().feed(Created(1.0, None), Tick(121.0))
    assert climb.finish == Finish(
        Outcome.UNKNOWN,
        "whether it was created could not be seen: no listing was made",
        good=False,
    )


def test_what_is_still_paused_at_the_end_was_never_started() -> None:
    paused = WEB._replace(paused=True)
    climb = Climb().feed(Created(1.0, None, "xl create was killed"), Listed(2.0, paused))
    climb.feed(Tick(121.0))
    assert climb.finish is not None
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.FAILED, False)
    assert "it is paused" in climb.finish.note
    assert "xl create was killed" in climb.finish.note


def test_what_cannot_be_seen_at_the_end_is_not_called_started() -> None:
    climb = Climb().feed(
        Created(1.0, 7), Listed(2.0, WEB), ListingFailed(60.0, "xl hangs"), Tick(121.0)
    )
    assert climb.finish is not None
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.UNKNOWN, False)
    seen = Climb().feed(
        Created(1.0, 7), ListingFailed(60.0, "xl hangs"), Listed(70.0, WEB), Tick(121.0)
    )
    assert seen.finish is not None
    assert seen.finish.outcome is Outcome.STARTED


def creates(climb: Climb) -> int:
    return sum(isinstance(action, Create) for action in climb.actions)


def test_what_a_dead_run_left_booting_is_waited_for_and_not_created() -> None:
    climb = Climb(Phase.BOOTING, 7)
    assert climb.actions[-1] == WatchNodes(7)
    climb.feed(
        PoweroffFeature(0.1, 7, None), Listed(1.0, WEB), PoweroffFeature(2.0, 7, supported=True)
    )
    assert climb.finish == Finish(Outcome.STARTED)
    assert not creates(climb)


def test_what_something_else_is_creating_is_waited_for() -> None:
    climb = Climb(Phase.CREATING)
    assert climb.actions[-1] == Relist()
    climb.feed(NotListed(1.0))
    assert climb.actions[-1] == CheckCreator()
    climb.feed(CreatorChecked(1.1, creating=True))
    assert climb.state.wake == 1.1 + timing.RETRY_PAUSE
    climb.feed(Tick(climb.state.wake))
    assert climb.actions[-1] == Relist()
    climb.feed(Listed(7.0, WEB))
    assert climb.actions[-1] == WatchNodes(7)
    climb.feed(PoweroffFeature(9.0, 7, supported=True))
    assert climb.finish == Finish(Outcome.STARTED)
    assert not creates(climb)


def test_what_nobody_creates_any_more_is_created_once() -> None:
    climb = Climb(Phase.CREATING).feed(NotListed(1.0), CreatorChecked(1.1, creating=False))
    assert climb.actions[-1] == Relist()
    climb.feed(NotListed(1.2))
    assert climb.actions[-1] == Create()
    climb.feed(Created(2.0, 7), PoweroffFeature(3.0, 7, supported=True))
    assert climb.finish == Finish(Outcome.STARTED)
    assert creates(climb) == 1


def test_what_was_created_after_the_listing_and_before_the_question_is_not_created_again() -> None:
    climb = Climb(Phase.CREATING).feed(NotListed(1.0), CreatorChecked(3.0, creating=False))
    climb.feed(Listed(3.1, WEB), PoweroffFeature(4.0, 7, supported=True))
    assert climb.finish == Finish(Outcome.STARTED)
    assert not creates(climb)


def test_a_creator_that_comes_to_nothing_and_never_ends_is_not_waited_for_for_ever() -> None:
    climb = Climb(Phase.CREATING)
    now = 1.0
    while climb.finish is None and now < 1000:
        climb.feed(NotListed(now), CreatorChecked(now, creating=True), Tick(now + 5.0))
        now += 5.0
    assert climb.finish is not None
    assert climb.finish.outcome is Outcome.UNKNOWN
    assert now <= 130
    assert not creates(climb)


def test_an_incarnation_that_stays_listed_is_named_when_its_successor_is_waited_for() -> None:
    dying = DomainInfo(4, UUID(int=1), "web", shutdown=ShutdownReason.REBOOT, dying=True)
    climb = Climb(Phase.CREATING).feed(Listed(1.0, dying), Tick(120.0))
    assert climb.finish is not None
    assert climb.finish.outcome is Outcome.UNKNOWN
    assert "domid 4 of it has ended and is still listed" in climb.finish.note
    assert not creates(climb)


def test_what_was_held_meanwhile_is_not_created() -> None:
    climb = Climb().feed(HeldMeanwhile(1.0, "held by anna"))
    assert climb.finish == Finish(Outcome.HELD, "held by anna")
