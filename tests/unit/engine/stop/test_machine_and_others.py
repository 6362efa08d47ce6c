"""Stops in which others have a hand: another tool, the guest's definition, a run that died."""

from __future__ import annotations

from lamplighter.engine import timing
from lamplighter.engine.events import (
    ClearRequest,
    Destroy,
    Destroyed,
    EnterPhase,
    Finish,
    Interrupted,
    Listed,
    NotListed,
    PoweroffFeature,
    RequestShutdown,
    RequestWritten,
    ShutdownNode,
    ShutdownReasonFound,
    Tick,
    WatchNodes,
)
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Setting
from lamplighter.model.run import Outcome
from tests.stops import POLICY, WEB, Climb, ended


def test_an_interrupted_stop_says_that_the_request_stands() -> None:
    climb = Climb().asked()
    climb.feed(Interrupted(5.0, "SIGTERM"))
    assert climb.finish.outcome is Outcome.UNKNOWN
    assert "the request to power off stands" in climb.finish.note


def test_what_waits_for_a_retry_does_not_wake_before_it() -> None:
    climb = Climb(policy=POLICY._replace(ack_timeout=Setting(2.0)))
    climb.feed(PoweroffFeature(0.0, 7, supported=True), RequestWritten(1.0, "no connection"))
    for now in (2.5, 5.9):
        assert climb.feed(Tick(now)) == []
        assert climb.state.wake == 6.0, "a wake that has passed would spin"
    assert climb.feed(Tick(6.0)) == [RequestShutdown(7)]


def test_a_domain_that_another_tool_saves_is_left_alone_until_its_time_is_up() -> None:
    for climb in (Climb().asked(), Climb(ended(ShutdownReason.SUSPEND))):
        climb.feed(Listed(2.0, ended(ShutdownReason.SUSPEND)))
        assert climb.feed(Tick(179.0)) == []
        assert climb.state.wake == 180.0
        assert climb.nobody_reaps(180.0) == [Destroy(7)]
        climb.feed(Destroyed(180.1), NotListed(180.2))
        assert (climb.finish.outcome, climb.finish.good) == (Outcome.FAILED, False)
        assert "another tool had suspended it" in climb.finish.note


def test_a_domain_that_was_being_saved_and_is_gone_is_reported() -> None:
    climb = Climb(ended(ShutdownReason.SUSPEND))
    climb.feed(NotListed(60.0))
    assert climb.finish.outcome is Outcome.ALREADY


def test_a_power_off_that_the_definition_has_restarted_is_followed_like_a_reboot() -> None:
    climb = Climb(restarts=True).asked()
    climb.feed(ShutdownNode(1.0, 7, b""), Listed(2.0, ended(ShutdownReason.POWEROFF)))
    assert climb.feed(NotListed(2.5)) == []
    assert climb.feed(Listed(5.0, WEB._replace(domid=8))) == [WatchNodes(8)]


def test_a_power_off_that_nobody_restarts_although_the_definition_says_so_is_clean() -> None:
    climb = Climb(restarts=True).asked()
    climb.feed(
        ShutdownNode(1.0, 7, b""), NotListed(2.0), ShutdownReasonFound(2.1, ShutdownReason.POWEROFF)
    )
    assert climb.state.phase is Phase.REBOOTING
    climb.feed(Tick(2.1 + timing.REBOOT_GAP))
    assert climb.finish == Finish(Outcome.CLEAN)


def test_reaping_is_reported_before_it_is_done() -> None:
    climb = Climb().asked()
    climb.feed(Listed(2.0, ended(ShutdownReason.POWEROFF)))
    climb.nobody_reaps(2.0 + timing.REAP_GRACE)
    told = "nobody reaped it: it is destroyed"
    assert climb.actions[-2:] == [EnterPhase(Phase.ENDED, told), Destroy(7)]


def test_a_guest_that_plays_with_its_feature_node_is_asked_again_only_once() -> None:
    climb = Climb().asked(supported=None)
    assert climb.feed(PoweroffFeature(1.0, 7, supported=True)) == [RequestShutdown(7)]
    for now in range(2, 60):
        assert climb.feed(PoweroffFeature(now, 7, supported=now % 2 == 0)) == []
    assert climb.feed(Tick(61.0)) == [ClearRequest(7)]


def test_what_had_acknowledged_a_dead_run_is_waited_for_and_not_asked_again() -> None:
    climb = Climb(resume=Phase.ACKNOWLEDGED)
    assert climb.actions[-1] == WatchNodes(7)
    climb.feed(PoweroffFeature(0.1, 7, supported=True), ShutdownNode(0.1, 7, b""), Tick(100.0))
    assert not any(isinstance(action, RequestShutdown) for action in climb.actions)
    actions = climb.time_is_up(180.0)
    assert actions == [Destroy(7)], "its time-out begins anew"
    climb = Climb(resume=Phase.ACKNOWLEDGED)
    climb.feed(Listed(5.0, WEB._replace(shutdown=ShutdownReason.POWEROFF)))
    (finish,) = climb.feed(NotListed(6.0))
    assert isinstance(finish, Finish)
    assert finish.outcome is Outcome.CLEAN
    assert "a run that died" in finish.note


def test_what_a_dead_run_had_begun_to_destroy_is_destroyed() -> None:
    climb = Climb(resume=Phase.FORCING)
    assert climb.actions[-1] == Destroy(7)
    climb.feed(Destroyed(1.0))
    (finish,) = climb.feed(NotListed(1.5))
    assert isinstance(finish, Finish)
    assert finish.outcome is Outcome.FORCED
