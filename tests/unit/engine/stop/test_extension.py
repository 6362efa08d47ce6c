"""A guest's words during its stop: what is kept, granted, refused and told at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import pytest

from lamplighter.engine import timing
from lamplighter.engine.events import (
    AgentReport,
    AnswerAgent,
    AnswerFailed,
    Destroy,
    Destroyed,
    EnterPhase,
    Listed,
    NotListed,
    PoweroffFeature,
    RequestCleared,
    RequestShutdown,
    RequestWritten,
    ShutdownNode,
    TellDeadline,
    Tick,
)
from lamplighter.engine.stop.extension import ANSWERS_ON_RECORD
from lamplighter.formats import agent_protocol
from lamplighter.formats.agent_protocol import AgentStatus, Forced, Grants, Progress, TimeRequest
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Policy, Setting
from tests.stops import WEB, Climb, ended

POLICY = Policy(stop_timeout=Setting(180.0), ack_timeout=Setting(60.0), extend_max=Setting(60.0))
STOPPING = Progress("stopping postgresql", 40)


def says(
    now: float,
    *,
    more: TimeRequest | None = None,
    progress: Progress | None = None,
    forced: Forced | None = None,
    domid: int = 7,
) -> AgentReport:
    return AgentReport(
        now, domid, AgentStatus("0.2.0", progress=progress, more=more, forced=forced)
    )


@dataclass
class Stop:
    """A stop that the guest has acknowledged after a second."""

    climb: Climb

    def ask_for(self, now: float, seconds: int, name: str) -> agent_protocol.Answer | None:
        """Have the guest ask for more time; return the answer, if it got one at once."""
        actions = self.climb.feed(says(now, more=TimeRequest(name, seconds, "rolling back")))
        answers = [action.answer for action in actions if isinstance(action, AnswerAgent)]
        return answers[0] if answers else None


def stop(policy: Policy = POLICY, latest: float = inf) -> Stop:
    climb = Climb(policy=policy, latest=latest).asked()
    climb.feed(ShutdownNode(1.0, 7, b""))
    return Stop(climb)


# --- more time -------------------------------------------------------------------------------


def test_what_fits_is_granted_and_the_deadline_moves_and_the_record_shows() -> None:
    one = stop()
    assert one.ask_for(100.5, 30, "k1") == agent_protocol.Answer("k1", 109)
    told = '30s more granted, 1min 49s are left; it says "rolling back"'
    assert EnterPhase(Phase.ACKNOWLEDGED, told) in one.climb.actions
    assert one.climb.state.wake == 210.0
    assert one.climb.feed(Tick(209.9)) == []
    assert one.climb.time_is_up(210.0) == [Destroy(7)]
    one.climb.feed(Destroyed(210.1), NotListed(210.2))
    assert "did not end within 210 s (30 s of them granted)" in one.climb.finish.note


def test_all_grants_together_are_no_more_than_policy_says() -> None:
    one = stop()
    assert one.ask_for(10.0, 61, "k0") == agent_protocol.Answer(
        "k0", None, "extend_max is 60 s and 60 s of it are left: ask for no more than that"
    )
    assert one.ask_for(20.0, 30, "k1") == agent_protocol.Answer("k1", 190)
    assert one.ask_for(30.0, 31, "k2") == agent_protocol.Answer(
        "k2", None, "extend_max is 60 s and 30 s of it are left: ask for no more than that"
    )
    assert one.ask_for(40.0, 30, "k3") == agent_protocol.Answer("k3", 200)
    assert one.ask_for(50.0, 1, "k4") == agent_protocol.Answer(
        "k4", None, "extend_max is 60 s and all of it has been granted"
    )
    assert one.climb.state.deadline == 240.0


def test_without_a_policy_nothing_is_granted() -> None:
    one = stop(POLICY._replace(extend_max=Setting(0.0)))
    assert one.ask_for(10.0, 1, "k1") == agent_protocol.Answer(
        "k1", None, "this host grants no more time: extend_max is not set for it"
    )
    assert one.climb.state.deadline == 180.0


def test_no_grant_goes_beyond_the_budget_of_the_whole_stop() -> None:
    one = stop(latest=200.0)
    assert one.ask_for(160.0, 30, "k1") == agent_protocol.Answer(
        "k1", None, "the host's stop_budget ends in 40 s"
    )
    assert one.ask_for(170.0, 20, "k2") == agent_protocol.Answer("k2", 30)
    assert one.climb.state.deadline == 200.0


def test_each_request_is_answered_once_and_no_two_in_one_second() -> None:
    one = stop()
    assert one.ask_for(10.0, 5, "k1") == agent_protocol.Answer("k1", 175)
    assert one.ask_for(10.1, 5, "k1") is None
    assert one.ask_for(10.2, 5, "k2") is None, "it is too early for another answer"
    assert one.climb.state.wake == 10.0 + timing.ANSWER_PAUSE
    (answer,) = one.climb.feed(Tick(11.0))
    assert answer == AnswerAgent(7, agent_protocol.Answer("k2", 179))
    assert one.climb.state.wake == 190.0
    assert one.climb.feed(Tick(15.0)) == []


@pytest.mark.parametrize(("seconds", "again"), [(5, 173), (61, None)])
def test_an_answer_that_was_not_written_is_repeated(seconds: int, again: int | None) -> None:
    one = stop()
    first = one.ask_for(10.0, seconds, "k1")
    assert first is not None
    assert one.climb.feed(AnswerFailed(10.1, 7, first)) == []
    deadline, record = one.climb.state.deadline, len(one.climb.actions)
    assert one.climb.state.wake == 11.0
    assert one.climb.feed(Tick(12.0)) == [AnswerAgent(7, first._replace(left=again))]
    assert one.climb.state.deadline == deadline, "it is granted once"
    assert len(one.climb.actions) == record + 1, "it is on record once"
    assert one.climb.state.wake == deadline
    assert one.climb.feed(AnswerFailed(12.1, 8, first), Tick(20.0)) == []


def test_an_answer_that_was_not_written_and_is_not_wanted_any_more_is_forgotten() -> None:
    one = stop()
    first = one.ask_for(10.0, 5, "k1")
    assert first is not None
    one.climb.feed(AnswerFailed(10.1, 7, first), says(10.2))
    assert one.climb.feed(Tick(12.0)) == []
    assert one.ask_for(20.0, 60, "k2") == agent_protocol.Answer("k2", 220), "k1 was never granted"
    assert one.climb.actions[-1] == AnswerAgent(7, agent_protocol.Answer("k2", 220), 60)
    assert one.climb.feed(Tick(30.0)) == []


@pytest.mark.parametrize(("seconds", "left"), [(10, 30), (61, None)])
def test_what_may_have_been_read_is_not_revoked(seconds: int, left: int | None) -> None:
    one = stop()
    first = one.ask_for(170.0, 40, "k1")
    assert first is not None
    one.climb.feed(AnswerFailed(170.1, 7, first), says(171.0))
    second = one.ask_for(190.0, seconds, "k2")
    assert second is not None
    assert second.left == left
    assert one.climb.state.deadline == 220.0


def test_what_a_run_before_has_answered_is_not_granted_again() -> None:
    one = stop()
    first = replace(says(10.0, more=TimeRequest("k1", 30)), given=Grants("k1"))
    assert not [a for a in one.climb.feed(first) if isinstance(a, AnswerAgent)]
    assert one.ask_for(20.0, 60, "k2") == agent_protocol.Answer("k2", 220)


def test_what_a_run_before_has_granted_is_there_before_the_guest_is_asked() -> None:
    climb = Climb(policy=POLICY)
    first = says(0.0, more=TimeRequest("k2", 10))  # the last of several; it was refused, or is new
    assert climb.feed(replace(first, given=Grants("k2", 30))) == []
    told = "30s that a run before granted, 3min 30s are left"
    assert climb.actions[-1] == EnterPhase(Phase.UP, told)
    climb.feed(PoweroffFeature(0.1, 7, supported=True))
    assert climb.actions[-1] == RequestShutdown(7, 210.0, 30)
    assert climb.feed(RequestWritten(0.2), Tick(5.0)) == []
    assert Stop(climb).ask_for(6.0, 31, "k3") == agent_protocol.Answer(
        "k3", None, "extend_max is 60 s and 30 s of it are left: ask for no more than that"
    )


def test_what_runs_before_have_granted_is_no_more_than_policy_and_budget_allow() -> None:
    climb = Climb(policy=POLICY, latest=200.0)
    climb.feed(replace(says(0.0), given=Grants("k9", 86400)))
    assert (climb.state.granted, climb.state.deadline) == (60.0, 200.0)
    climb.feed(PoweroffFeature(0.1, 7, supported=True))
    assert climb.actions[-1] == RequestShutdown(7, 200.0, 60)
    none = Climb(policy=POLICY._replace(extend_max=Setting(0.0)))
    none.feed(replace(says(0.0), given=Grants("k9", 60)))
    assert none.state.deadline == 180.0


def test_nothing_of_a_run_before_comes_after_the_force_or_takes_anything_away() -> None:
    one = stop()
    one.ask_for(10.0, 40, "k1")
    one.climb.feed(Listed(20.0, ended(ShutdownReason.REBOOT)), Listed(23.0, WEB._replace(domid=8)))
    one.climb.feed(replace(says(23.1, domid=8), given=Grants("k9", 1)))
    assert one.climb.state.granted == 40.0
    forced = stop()
    forced.climb.time_is_up(180.0)
    forced.climb.feed(Destroyed(180.1))
    before = len(forced.climb.actions)
    assert forced.climb.feed(replace(says(180.2), given=Grants("k1", 60))) == []
    assert (forced.climb.state.granted, len(forced.climb.actions)) == (0.0, before)


def test_a_guest_that_took_the_request_of_another_run_gets_a_deadline_note() -> None:
    one = stop()
    assert one.climb.feed(says(2.0)) == [TellDeadline(7, 180.0)]
    assert one.climb.feed(says(3.0)) == []
    late = Climb(policy=POLICY).asked()
    assert late.feed(replace(says(2.0), given=Grants("k1", 20))) == [TellDeadline(7, 200.0, 20)]
    unasked = Climb(policy=POLICY)
    unasked.feed(PoweroffFeature(0.1, 7, supported=True), RequestWritten(0.2, "it failed"))
    assert unasked.feed(says(0.3)) == [], "a note alone says that the request was taken"


def test_a_flood_of_requests_gets_one_answer_a_second_and_few_lines_on_record() -> None:
    one = stop(POLICY._replace(extend_max=Setting(0.0)))
    before = len(one.climb.actions)
    answers = [one.ask_for(2 + n / 1000, 9, f"k{n}") for n in range(60_000)]
    assert sum(answer is not None for answer in answers) == 60
    moves = [action for action in one.climb.actions[before:] if isinstance(action, EnterPhase)]
    assert len(moves) == ANSWERS_ON_RECORD


def test_what_is_asked_before_the_guest_was_asked_is_answered_afterwards() -> None:
    climb = Climb(policy=POLICY)
    assert climb.feed(says(0.0, more=TimeRequest("k1", 30))) == []
    assert climb.feed(PoweroffFeature(0.1, 7, supported=True)) == [RequestShutdown(7)]
    assert climb.feed(RequestWritten(0.2)) == []
    assert climb.state.wake <= 0.2
    assert climb.feed(Tick(0.2)) == [AnswerAgent(7, agent_protocol.Answer("k1", 209))]


def test_what_is_asked_while_the_request_is_taken_back_waits() -> None:
    climb = Climb(policy=POLICY).asked()
    climb.feed(Tick(60.0))
    assert climb.feed(says(60.1, more=TimeRequest("k1", 30))) == []
    assert climb.state.wake == 180.0
    climb.feed(RequestCleared(60.2, taken=True))
    assert climb.feed(Tick(60.3)) == [AnswerAgent(7, agent_protocol.Answer("k1", 149))]


def test_a_grant_gives_a_guest_no_more_time_to_acknowledge() -> None:
    climb = Climb(policy=POLICY).asked()
    climb.feed(says(30.0, more=TimeRequest("k1", 30)))
    assert climb.state.wake == 60.0


def test_when_the_time_is_up_nothing_is_granted() -> None:
    one = stop()
    assert one.ask_for(180.0, 30, "k1") is None
    assert one.climb.time_is_up(180.0) == [Destroy(7)]
    assert one.ask_for(180.1, 30, "k2") is None
    assert one.climb.state.granted == 0


def test_another_incarnations_report_is_ignored() -> None:
    one = stop()
    assert one.climb.feed(says(10.0, domid=8, more=TimeRequest("k1", 30), progress=STOPPING)) == []
    assert one.climb.state.report is None


def test_what_comes_back_has_reported_nothing_yet_and_keeps_what_was_granted() -> None:
    one = stop()
    one.ask_for(10.0, 40, "k1")
    one.climb.feed(Listed(20.0, ended(ShutdownReason.REBOOT)), Listed(23.0, WEB._replace(domid=8)))
    assert one.climb.state.report is None
    one.climb.feed(PoweroffFeature(23.1, 8, supported=True), RequestWritten(23.2))
    note, answer = one.climb.feed(says(24.0, domid=8, more=TimeRequest("k1", 20)))
    assert (note, answer) == (
        TellDeadline(8, 220.0, 40),
        AnswerAgent(8, agent_protocol.Answer("k1", 216)),
    )
    (answer,) = one.climb.feed(says(26.0, domid=8, more=TimeRequest("k2", 1)))
    assert isinstance(answer, AnswerAgent)
    assert answer.answer.left is None


# --- the budget ------------------------------------------------------------------------------


def test_what_is_left_of_the_budget_cuts_the_time_of_a_domain() -> None:
    climb = Climb(latest=45.0).asked()
    assert RequestShutdown(7, 45.0) in climb.actions
    assert climb.state.wake == 15.0, "three requests fit into it"
    climb.feed(ShutdownNode(1.0, 7, b""))
    assert climb.time_is_up(45.0) == [Destroy(7)]
    told = "45 s, when the host's stop_budget was used up"
    assert EnterPhase(Phase.FORCING, f"not down after {told}") in climb.actions
    climb.feed(Destroyed(45.1), NotListed(45.2))
    assert climb.finish.note == (
        f"it acknowledged the request but did not end within {told}: destroyed"
    )


def test_a_budget_that_is_used_up_leaves_no_time() -> None:
    climb = Climb(latest=-5.0)
    assert climb.feed(PoweroffFeature(0.0, 7, supported=True)) == [RequestShutdown(7)]
    assert climb.feed(RequestWritten(0.1)) == []
    assert climb.time_is_up(0.1) == [Destroy(7)]
