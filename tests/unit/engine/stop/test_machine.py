"""One domain's stop, event by event."""

from __future__ import annotations

from lamplighter.engine import timing
from lamplighter.engine.events import (
    CheckHalfBuilt,
    ClearRequest,
    Destroy,
    Destroyed,
    EnterPhase,
    FindShutdownReason,
    Finish,
    HalfBuiltChecked,
    KindFound,
    Listed,
    ListingFailed,
    NotListed,
    PoweroffFeature,
    PressPower,
    ReaperChecked,
    Relist,
    RequestCleared,
    RequestShutdown,
    RequestWritten,
    ShutdownNode,
    ShutdownReasonFound,
    Tick,
    WatchNodes,
)
from lamplighter.model.domain import Kind, ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Setting
from lamplighter.model.run import Outcome
from tests.stops import POLICY, WEB, Climb, ended


def test_a_prompt_guest_is_asked_acknowledges_and_ends_clean() -> None:
    climb = Climb()
    assert climb.actions == [WatchNodes(7)]
    assert climb.feed(PoweroffFeature(0.1, 7, supported=True)) == [RequestShutdown(7)]
    climb.feed(RequestWritten(0.1), ShutdownNode(0.2, 7, b"poweroff"))
    assert climb.state.phase is Phase.ASKED
    climb.feed(ShutdownNode(0.3, 7, b""))
    assert climb.state.phase is Phase.ACKNOWLEDGED
    climb.feed(Listed(3.0, ended(ShutdownReason.POWEROFF)), NotListed(3.5))
    assert climb.finish == Finish(Outcome.CLEAN)


HALF = WEB._replace(paused=True, has_run=False)


def test_what_was_left_half_built_is_taken_away_at_once() -> None:
    climb = Climb(HALF)
    assert climb.feed(PoweroffFeature(0.0, 7, None)) == [CheckHalfBuilt(HALF), RequestShutdown(7)]
    assert climb.feed(HalfBuiltChecked(0.1, 7, half_built=True)) == [Destroy(7)]
    climb.feed(RequestWritten(0.2), Destroyed(0.3), NotListed(0.4))
    assert climb.finish == Finish(Outcome.ALREADY, "half built and never run: destroyed")


def test_what_is_being_created_or_paused_is_asked_and_looked_into_with_each_asking() -> None:
    climb = Climb(HALF).asked(supported=None)
    assert climb.feed(HalfBuiltChecked(0.1, 7, half_built=False)) == []
    climb.feed(Tick(60.0))
    assert climb.feed(RequestCleared(60.1, taken=False)) == [
        CheckHalfBuilt(HALF),
        RequestShutdown(7),
    ]
    climb.feed(
        HalfBuiltChecked(60.2, 7, half_built=False), Tick(120.1), RequestCleared(120.2, taken=False)
    )
    assert climb.time_is_up(180.0) == [Destroy(7)]
    climb.feed(Destroyed(181.0), NotListed(181.5))
    assert climb.finish.outcome is Outcome.FORCED


def test_what_has_begun_meanwhile_is_not_taken_away() -> None:
    climb = Climb(HALF).asked(supported=None)
    climb.feed(Listed(0.1, HALF._replace(paused=False)))
    assert climb.feed(HalfBuiltChecked(0.2, 7, half_built=True)) == []
    climb.feed(Listed(0.3, WEB._replace(domid=8)))
    assert climb.feed(HalfBuiltChecked(0.4, 7, half_built=True)) == []


def test_what_ran_once_and_is_paused_is_not_looked_into() -> None:
    climb = Climb(WEB._replace(paused=True))
    assert climb.feed(PoweroffFeature(0.0, 7, None)) == [RequestShutdown(7)]


def test_silence_is_answered_with_taking_back_asking_again_and_at_last_force() -> None:
    climb = Climb().asked()
    assert climb.state.wake == 60.0
    assert climb.feed(Tick(59.9)) == []
    assert climb.feed(Tick(60.0)) == [ClearRequest(7)]
    assert climb.feed(RequestCleared(60.1, taken=False)) == [RequestShutdown(7)]
    assert climb.feed(Tick(120.1)) == [ClearRequest(7)]
    assert climb.feed(RequestCleared(120.2, taken=False)) == [RequestShutdown(7)]
    assert climb.time_is_up(180.0) == [Destroy(7)]
    climb.feed(Destroyed(181.0), NotListed(181.5))
    assert climb.finish.outcome is Outcome.FORCED
    assert not climb.finish.good
    assert climb.finish.note == "it did not acknowledge any of 3 requests within 180 s: destroyed"


def test_what_is_acknowledged_is_not_asked_again_and_forced_only_at_the_deadline() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""))
    assert climb.state.wake == 180.0
    assert climb.feed(Tick(179.9)) == []
    assert climb.time_is_up(180.0) == [Destroy(7)]
    climb.feed(Destroyed(180.5), NotListed(180.6))
    assert "acknowledged the request but did not end" in climb.finish.note


def test_an_acknowledgement_that_crosses_the_taking_back_counts() -> None:
    climb = Climb().asked()
    climb.feed(Tick(60.0))
    assert climb.feed(RequestCleared(60.1, taken=True)) == []
    assert climb.state.phase is Phase.ACKNOWLEDGED


def test_what_a_guest_scribbles_is_no_answer() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b"\xff" * 4096), ShutdownNode(1.1, 7, None))
    assert climb.state.phase is Phase.ASKED


def test_a_guest_that_comes_up_after_the_request_is_asked_again_at_once() -> None:
    climb = Climb().asked(supported=None)
    assert climb.feed(PoweroffFeature(20.0, 7, supported=True)) == [RequestShutdown(7)]
    assert climb.feed(PoweroffFeature(20.1, 7, supported=True)) == []


def test_an_hvm_guest_without_drivers_gets_the_button_early_and_is_asked_again() -> None:
    climb = Climb()
    climb.feed(KindFound(0.0, 7, Kind.HVM))
    climb.asked(supported=None)
    assert climb.state.wake == timing.HVM_SILENCE
    climb.feed(Tick(timing.HVM_SILENCE))
    assert climb.feed(RequestCleared(10.1, taken=False)) == [PressPower(7), RequestShutdown(7)]


def test_three_requests_fit_into_a_short_stop() -> None:
    climb = Climb(policy=POLICY._replace(stop_timeout=Setting(9.0))).asked()
    assert climb.state.wake == 3.0


def test_nobody_reaps_so_we_do_after_a_grace() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(2.0, ended(ShutdownReason.POWEROFF)))
    assert climb.state.wake == 2.0 + timing.REAP_GRACE
    assert climb.nobody_reaps(2.0 + timing.REAP_GRACE) == [Destroy(7)]
    climb.feed(Destroyed(7.5), NotListed(8.0))
    assert climb.finish.outcome is Outcome.CLEAN
    assert climb.finish.note == "nobody reaped it, so this run did"


def test_a_reboot_is_followed_to_the_next_incarnation_which_is_asked_again() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(2.0, ended(ShutdownReason.REBOOT)), NotListed(2.5))
    assert climb.state.phase is Phase.REBOOTING
    assert climb.feed(Listed(5.0, WEB._replace(domid=8))) == [WatchNodes(8)]
    assert climb.feed(PoweroffFeature(5.1, 8, supported=True)) == [RequestShutdown(8)]
    climb.feed(
        ShutdownNode(5.2, 8, b""), Listed(6.0, ended(ShutdownReason.POWEROFF, 8)), NotListed(6.5)
    )
    assert climb.finish.outcome is Outcome.CLEAN
    assert "asked again" in climb.finish.note


def test_a_reboot_that_nobody_completes_is_an_end() -> None:
    climb = Climb().asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.REBOOT)), NotListed(3.0))
    assert climb.state.wake == 3.0 + timing.REBOOT_GAP
    climb.feed(NotListed(10.0), Tick(3.0 + timing.REBOOT_GAP))
    assert climb.finish.outcome is Outcome.CLEAN


def test_a_domain_that_reboots_for_ever_is_destroyed_at_its_deadline() -> None:
    climb = Climb().asked()
    climb.feed(Listed(100.0, ended(ShutdownReason.REBOOT)), NotListed(101.0))
    climb.feed(Tick(110.0))
    assert climb.feed(Listed(181.0, WEB._replace(domid=8))) == [Destroy(8)]


def test_not_listed_without_a_reason_may_be_a_reboot_and_is_never_called_clean() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""))
    assert climb.feed(NotListed(2.0)) == [FindShutdownReason(WEB)]
    climb.feed(ShutdownReasonFound(2.1, None))
    assert climb.state.phase is Phase.REBOOTING
    climb.feed(Tick(2.1 + timing.REBOOT_GAP))
    assert climb.finish.outcome is Outcome.UNKNOWN
    assert not climb.finish.good


def test_a_domain_that_one_listing_left_out_is_asked_again_and_not_destroyed() -> None:
    climb = Climb().asked()
    climb.feed(NotListed(2.0), ShutdownReasonFound(2.1, None))
    assert climb.feed(Listed(20.0, WEB)) == [WatchNodes(7)]
    assert climb.feed(PoweroffFeature(20.1, 7, supported=True)) == [RequestShutdown(7)]


def test_a_saved_domain_that_is_resumed_in_place_is_asked_again() -> None:
    climb = Climb().asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.SUSPEND)))
    assert climb.feed(Listed(3.0, WEB)) == [WatchNodes(7)]


def test_one_that_runs_again_when_its_time_is_up_is_not_asked_any_more() -> None:
    climb = Climb().asked()
    climb.feed(Listed(170.0, ended(ShutdownReason.SUSPEND)))
    assert climb.feed(Listed(180.5, WEB)) == [Destroy(7)]


def test_the_toolstacks_record_of_a_power_off_is_believed() -> None:
    climb = Climb().asked()
    climb.feed(
        ShutdownNode(1.0, 7, b""), NotListed(2.0), ShutdownReasonFound(2.1, ShutdownReason.POWEROFF)
    )
    assert climb.finish == Finish(Outcome.CLEAN)


def test_a_listing_that_failed_says_nothing() -> None:
    climb = Climb().asked()
    assert climb.feed(ListingFailed(3.0, "xl hangs")) == []
    assert climb.state.phase is Phase.ASKED
    assert climb.feed(ListingFailed(180.0, "xl hangs")) == [Relist()], "it began before"
    assert climb.feed(ListingFailed(181.0, "xl hangs")) == [Destroy(7)]


def test_a_destroy_that_fails_is_tried_again_and_then_reported() -> None:
    climb = Climb().asked()
    climb.time_is_up(180.0)
    now = 180.0
    for _ in range(timing.DESTROY_TRIES - 1):
        climb.feed(Destroyed(now, "no"))
        now += timing.RETRY_PAUSE
        assert climb.feed(Tick(now)) == [Destroy(7)]
    climb.feed(Destroyed(now, "no"))
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.FAILED, False)


def test_another_tools_destroy_is_not_called_clean() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(2.0, WEB._replace(dying=True)), NotListed(2.5))
    assert climb.finish.outcome is Outcome.FORCED
    assert climb.finish.note == "another tool destroyed it"


def test_a_crash_on_the_way_down_is_a_failure() -> None:
    climb = Climb().asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.CRASH)), NotListed(2.5))
    climb.feed(Tick(2.5 + timing.REBOOT_GAP))
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.FAILED, False)


def test_a_zombie_that_executes_nothing_does_not_hold_the_run() -> None:
    climb = Climb().asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(2.0, ended(ShutdownReason.POWEROFF, dying=True)))
    zombie = 2.0 + timing.ZOMBIE_GRACE
    climb.feed(Tick(zombie), ReaperChecked(zombie, 7, lives=False))
    assert climb.finish.outcome is Outcome.CLEAN
    assert "still lists it as dying" in climb.finish.note


def test_a_domain_that_had_ended_before_is_reaped_with_a_note() -> None:
    climb = Climb(ended(ShutdownReason.CRASH))
    climb.nobody_reaps(timing.REAP_GRACE)
    climb.feed(Destroyed(6.0), NotListed(6.1))
    climb.feed(Tick(6.1 + timing.REBOOT_GAP))
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.ALREADY, True)


def test_policy_destroy_does_not_ask() -> None:
    climb = Climb(destroy=True)
    assert climb.actions == [EnterPhase(Phase.FORCING, "its policy is to destroy it"), Destroy(7)]
    climb.feed(Destroyed(1.0), NotListed(1.1))
    assert (climb.finish.outcome, climb.finish.good) == (Outcome.FORCED, True)


def test_a_request_that_cannot_be_written_is_tried_again() -> None:
    climb = Climb()
    climb.feed(PoweroffFeature(0.0, 7, supported=None), RequestWritten(0.1, "XenStore is away"))
    assert climb.feed(ShutdownNode(0.2, 7, b"")) == []
    assert climb.feed(Tick(0.1 + timing.RETRY_PAUSE)) == [RequestShutdown(7)]
