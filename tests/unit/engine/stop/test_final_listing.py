"""Before force comes a last look, and what has shut down is left to its reaper while that lives."""

from __future__ import annotations

from lamplighter.engine import timing
from lamplighter.engine.events import (
    AgentReport,
    CheckReaper,
    Destroy,
    Destroyed,
    FindShutdownReason,
    Finish,
    Listed,
    ListingFailed,
    NotListed,
    ReaperChecked,
    Relist,
    ShutdownNode,
    ShutdownReasonFound,
    Tick,
)
from lamplighter.formats.agent_protocol import AgentStatus, Grants
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Setting
from lamplighter.model.run import Outcome
from tests.stops import POLICY, WEB, Climb, ended

# --- the last look -----------------------------------------------------------------------------


def at_the_deadline() -> Climb:
    """A guest that acknowledged, and whose time is up; the last look is under way."""
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""))
    assert climb.feed(Tick(180.0)) == [Relist()]
    return climb


def test_what_the_last_look_shows_shut_down_ended_in_time() -> None:
    climb = at_the_deadline()
    climb.feed(Listed(184.0, ended(ShutdownReason.POWEROFF)), NotListed(185.0))
    assert climb.finish == Finish(Outcome.CLEAN)


def test_what_is_gone_in_the_last_look_ended_as_the_toolstack_has_it_on_record() -> None:
    climb = at_the_deadline()
    assert climb.feed(NotListed(184.0)) == [FindShutdownReason(WEB)]
    climb.feed(ShutdownReasonFound(184.1, ShutdownReason.POWEROFF))
    assert climb.finish == Finish(Outcome.CLEAN)


def test_what_the_last_look_shows_running_is_forced() -> None:
    climb = at_the_deadline()
    assert climb.feed(Tick(184.0)) == [], "nothing has been seen yet"
    assert climb.feed(Listed(184.1, WEB)) == [Destroy(7)]
    assert climb.state.phase is Phase.FORCING


def test_a_listing_of_before_the_deadline_is_no_last_look() -> None:
    climb = Climb().asked()
    assert climb.feed(Listed(180.0, WEB)) == [Relist()]
    assert climb.feed(Listed(181.0, WEB)) == [Destroy(7)]


def test_a_last_look_that_fails_or_does_not_come_holds_nothing_up() -> None:
    climb = at_the_deadline()
    assert climb.feed(ListingFailed(184.0, "xl hangs")) == [Destroy(7)]
    climb = at_the_deadline()
    assert climb.state.wake == 180.0 + timing.FINAL_LISTING
    assert climb.feed(Tick(179.9 + timing.FINAL_LISTING)) == []
    assert climb.feed(Tick(180.0 + timing.FINAL_LISTING)) == [Destroy(7)]


def test_time_that_is_granted_during_the_last_look_needs_another_one() -> None:
    """What a run before had granted is heard of with the guest's first words."""
    climb = Climb(policy=POLICY._replace(extend_max=Setting(60.0))).asked()
    climb.feed(ShutdownNode(1.0, 7, b""))
    assert climb.feed(Tick(180.0)) == [Relist()]
    words = AgentStatus("0.2.0")
    climb.feed(AgentReport(181.0, 7, words, Grants("k1", 30)))
    assert climb.state.deadline == 210.0
    assert climb.feed(Listed(182.0, WEB)) == [], "it has time"
    assert climb.time_is_up(210.0) == [Destroy(7)]


# --- who reaps ---------------------------------------------------------------------------------


def shut_down(now: float = 2.0, reason: ShutdownReason = ShutdownReason.POWEROFF) -> Climb:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(now, ended(reason)))
    return climb


def ask_in_vain(climb: Climb, until: float) -> float:
    """Ask again and again for a reaper that lives; return when that was asked last."""
    now = climb.state.wake
    while now < until:
        assert climb.feed(Tick(now)) == [CheckReaper(climb.state.info)]
        assert climb.feed(ReaperChecked(now, 7, lives=True)) == []
        assert timing.REAP_GRACE <= climb.state.wake - now <= timing.REAP_PAUSE
        now = climb.state.wake
    return now


def test_it_is_asked_less_and_less_often_whether_a_reaper_lives() -> None:
    climb, asked = shut_down(), []
    while (now := climb.state.wake) < 100.0:
        climb.feed(Tick(now), ReaperChecked(now, 7, lives=True))
        asked.append(now - 2.0)
    assert asked == [5.0, 10.0, 20.0, 40.0, 60.0, 80.0]


def test_a_reaper_that_lives_is_left_alone_for_long() -> None:
    climb = shut_down()
    now = ask_in_vain(climb, 2.0 + timing.REAPER_TIME)
    climb.feed(Tick(now))
    assert climb.feed(ReaperChecked(now, 7, lives=True)) == [Destroy(7)]
    climb.feed(Destroyed(now), NotListed(now))
    assert climb.finish.outcome is Outcome.CLEAN


def test_one_question_about_a_reaper_is_asked_at_a_time() -> None:
    """Two answers that it is dead would be taken for a listing that never came."""
    climb = shut_down()
    climb.feed(Tick(6.9))
    assert climb.feed(Listed(7.0, ended(ShutdownReason.POWEROFF))) != []
    assert climb.feed(Tick(7.0)) == []
    assert climb.feed(ReaperChecked(7.0, 7, lives=False)) == [Relist()]


def test_what_ended_late_is_left_to_its_reaper_as_long_as_any() -> None:
    climb = shut_down(179.0)
    assert ask_in_vain(climb, 179.0 + timing.REAPER_TIME) >= 179.0 + timing.REAPER_TIME


def test_a_reaper_may_take_no_longer_than_the_budget() -> None:
    climb = Climb(latest=30.0).asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.POWEROFF)))
    now = ask_in_vain(climb, 30.0)
    climb.feed(Tick(now))
    assert (now, climb.feed(ReaperChecked(now, 7, lives=True))) == (30.0, [Destroy(7)])


def test_a_reaper_that_dies_over_it_is_noticed() -> None:
    climb = shut_down()
    now = ask_in_vain(climb, 60.0)
    assert climb.nobody_reaps(now) == [Destroy(7)]


def test_a_reaper_that_has_ended_may_have_done_its_work() -> None:
    climb = shut_down()
    climb.feed(Tick(7.0))
    assert climb.feed(ReaperChecked(7.0, 7, lives=False)) == [Relist()]
    climb.feed(NotListed(8.0))
    assert climb.finish == Finish(Outcome.CLEAN)


def test_what_is_being_taken_apart_when_its_reaper_has_ended_is_given_time() -> None:
    climb = shut_down()
    climb.feed(Tick(7.0), ReaperChecked(7.0, 7, lives=False))
    climb.feed(Listed(8.0, ended(ShutdownReason.POWEROFF, dying=True)))
    zombie = 7.0 + timing.ZOMBIE_GRACE
    assert climb.state.wake == zombie
    climb.feed(Tick(zombie), ReaperChecked(zombie, 7, lives=False))
    assert "still lists it as dying" in climb.finish.note


def test_without_a_listing_nobody_knows_whether_it_did_so_it_is_reaped() -> None:
    climb = shut_down()
    climb.feed(Tick(7.0), ReaperChecked(7.0, 7, lives=False), ListingFailed(8.0, "xl hangs"))
    late = 7.0 + timing.ORPHAN_LISTING
    assert climb.feed(Tick(late - 0.1)) == []
    assert climb.feed(Tick(late)) == [CheckReaper(climb.state.info)]
    assert climb.feed(ReaperChecked(late, 7, lives=False)) == [Destroy(7)]


def test_what_was_saved_and_has_no_reaper_any_more_is_looked_for_as_long() -> None:
    climb = shut_down(reason=ShutdownReason.SUSPEND)
    now = climb.state.wake
    climb.feed(Tick(now), ReaperChecked(now, 7, lives=False))
    assert climb.state.wake == now + timing.ORPHAN_LISTING


def test_the_budget_bounds_how_long_a_listing_is_waited_for() -> None:
    climb = Climb(latest=30.0).asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.POWEROFF)))
    climb.feed(Tick(7.0), ReaperChecked(7.0, 7, lives=False))
    assert climb.state.wake == 30.0
    climb.feed(Listed(8.0, WEB), Listed(29.0, ended(ShutdownReason.POWEROFF)))
    climb.feed(Tick(34.0), ReaperChecked(34.0, 7, lives=False))
    assert climb.state.wake == 34.0 + timing.FINAL_LISTING


def test_what_its_reaper_destroys_is_clean_without_a_note() -> None:
    climb = shut_down()
    ask_in_vain(climb, 60.0)
    climb.feed(NotListed(61.0))
    assert climb.finish == Finish(Outcome.CLEAN)


def test_an_answer_about_another_incarnation_or_a_domain_that_runs_says_nothing() -> None:
    climb = shut_down()
    climb.feed(Tick(2.0 + timing.REAP_GRACE))
    assert climb.feed(ReaperChecked(7.0, 6, lives=False)) == []
    climb.feed(Listed(7.1, WEB))
    assert climb.feed(ReaperChecked(7.2, 7, lives=False)) == []


def test_a_domain_keeps_the_name_by_which_its_reaper_is_found() -> None:
    """Whoever takes it apart removes its nodes before it is dying."""
    climb = shut_down()
    climb.feed(Listed(3.0, ended(ShutdownReason.POWEROFF)._replace(name="")))
    assert climb.feed(Tick(7.0)) == [CheckReaper(ended(ShutdownReason.POWEROFF))]
