"""What a guest reports last, and what that makes of its end."""

from __future__ import annotations

import pytest

from lamplighter.engine.events import (
    AnswerAgent,
    Destroyed,
    EnterPhase,
    Listed,
    ListingFailed,
    NotListed,
    ShutdownReasonFound,
    Tick,
)
from lamplighter.engine.stop.outcome import is_guest_force
from lamplighter.formats.agent_protocol import Forced, Progress, TimeRequest
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Policy, Setting
from lamplighter.model.run import Outcome
from tests.stops import WEB, ended
from tests.unit.engine.stop.test_extension import says, stop

POLICY = Policy(stop_timeout=Setting(180.0), ack_timeout=Setting(60.0), extend_max=Setting(60.0))
STOPPING = Progress("stopping postgresql", 40)

# --- last words ------------------------------------------------------------------------------

FORCES = Forced("poweroff", "not off after 150 s")


@pytest.mark.parametrize("reason", [ShutdownReason.POWEROFF, ShutdownReason.REBOOT])
def test_a_guest_that_forced_its_own_end_is_not_called_clean(reason: ShutdownReason) -> None:
    one = stop()
    one.climb.feed(says(100.0, progress=STOPPING), says(150.0, progress=STOPPING, forced=FORCES))
    told = 'forced by the guest: "not off after 150 s"'
    assert EnterPhase(Phase.ACKNOWLEDGED, told) in one.climb.actions
    one.climb.feed(Listed(151.0, ended(reason)), NotListed(151.5))
    if reason is ShutdownReason.REBOOT:
        one.climb.feed(Tick(200.0))
    assert one.climb.finish.outcome is Outcome.FORCED
    assert not one.climb.finish.good
    note = one.climb.finish.note
    assert note.startswith('forced by the guest: "not off after 150 s"')
    assert note.endswith('; its last report: "stopping postgresql, 40 %"')


def test_what_we_force_stays_on_record_as_ours() -> None:
    one = stop()
    one.climb.time_is_up(180.0)
    one.climb.feed(Destroyed(180.1))
    before = len(one.climb.actions)
    assert one.climb.feed(says(180.2, forced=FORCES)) == []
    assert len(one.climb.actions) == before
    one.climb.feed(NotListed(180.3))
    assert one.climb.finish.note.startswith("it acknowledged the request but did not end within")


def test_one_that_forces_its_end_and_asks_for_more_wakes_nobody() -> None:
    one = stop()
    one.climb.feed(says(10.0, more=TimeRequest("k1", 30), forced=FORCES))
    assert one.climb.state.wake == 180.0
    one.climb.feed(says(11.0, more=TimeRequest("k2", 30), forced=FORCES))
    assert one.climb.state.wake == 180.0
    assert not [action for action in one.climb.actions if isinstance(action, AnswerAgent)]


def test_what_the_host_says_of_a_guest_never_ends_within_a_quotation() -> None:
    one = stop()
    sly = 'x"; all went well. Run "xl destroy db'
    one.climb.feed(says(9.0, progress=Progress(sly), forced=Forced("poweroff", sly)))
    one.climb.time_is_up(180.0)
    one.climb.feed(Destroyed(180.1), NotListed(180.2))
    tame = "\"x'; all went well. Run 'xl destroy db\""
    said, last = one.climb.finish.note.split("; ", 1)[1].split("; its last report: ")
    assert (said, last) == (f"it had reported that it forces its own poweroff: {tame}", tame)
    assert EnterPhase(Phase.ACKNOWLEDGED, f"forced by the guest: {tame}") in one.climb.actions


def test_the_report_of_a_force_is_kept_when_the_nodes_go() -> None:
    one = stop()
    one.climb.feed(says(150.0, forced=FORCES), says(150.1))
    one.climb.feed(NotListed(151.0), ShutdownReasonFound(151.1, ShutdownReason.POWEROFF))
    assert one.climb.finish.outcome is Outcome.FORCED
    assert one.climb.finish.note == 'forced by the guest: "not off after 150 s"'


def test_a_guest_that_says_so_and_is_destroyed_by_us_has_a_note() -> None:
    one = stop()
    one.climb.feed(says(150.0, progress=STOPPING, forced=FORCES))
    one.climb.time_is_up(180.0)
    one.climb.feed(Destroyed(180.1), NotListed(180.2))
    assert (one.climb.finish.outcome, one.climb.finish.good) == (Outcome.FORCED, False)
    assert one.climb.finish.note == (
        "it acknowledged the request but did not end within 180 s: destroyed; "
        'it had reported that it forces its own poweroff: "not off after 150 s"; '
        'its last report: "stopping postgresql, 40 %"'
    )


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (Listed(151.0, ended(ShutdownReason.CRASH)), Outcome.FAILED),
        (Listed(151.0, ended(ShutdownReason.WATCHDOG)), Outcome.FAILED),
        (Listed(151.0, WEB._replace(dying=True)), Outcome.FORCED),
        (Listed(151.0, ended(ShutdownReason.SUSPEND)), Outcome.FAILED),
    ],
)
def test_another_end_is_reported_as_it_was_with_the_last_report(
    end: Listed, outcome: Outcome
) -> None:
    one = stop()
    one.climb.feed(says(150.0, forced=FORCES), end, NotListed(152.0))
    if one.climb.state.phase is Phase.REBOOTING:
        one.climb.feed(Tick(200.0))
    assert (one.climb.finish.outcome, one.climb.finish.good) == (outcome, False)
    assert 'it had reported that it forces its own poweroff: "not off after 150 s"' in (
        one.climb.finish.note
    )


def test_an_end_that_nobody_saw_stays_unknown() -> None:
    one = stop()
    one.climb.feed(
        says(150.0, forced=FORCES), NotListed(152.0), ShutdownReasonFound(152.1, None), Tick(200.0)
    )
    assert one.climb.finish.outcome is Outcome.UNKNOWN
    assert "it had reported that it forces its own poweroff" in one.climb.finish.note


def test_a_good_end_needs_no_last_report_and_a_silent_guest_has_none() -> None:
    one = stop()
    one.climb.feed(says(3.0, progress=STOPPING), Listed(5.0, ended(ShutdownReason.POWEROFF)))
    one.climb.feed(NotListed(5.5))
    assert one.climb.finish.note == ""
    silent = stop()
    silent.climb.time_is_up(180.0)
    silent.climb.feed(Destroyed(180.1), NotListed(180.2))
    assert "said" not in silent.climb.finish.note


def test_progress_that_is_removed_was_reported_all_the_same() -> None:
    one = stop()
    one.climb.feed(says(3.0, progress=STOPPING), says(4.0), ListingFailed(179.0, "xl hangs"))
    one.climb.time_is_up(180.0)
    one.climb.feed(Destroyed(180.1), NotListed(180.2))
    assert one.climb.finish.note.endswith('; its last report: "stopping postgresql, 40 %"')


@pytest.mark.parametrize(
    ("detail", "tells"),
    [
        ("forced by the guest", True),
        ('forced by the guest: "not off after 150 s"', True),
        ('shut down: poweroff, forced by the guest: "not off after 150 s"', True),
        ('30s more refused, none is left; it says "forced by the guest"', False),
        ("shut down: poweroff", False),
        ("the guest took it", False),
    ],
)
def test_what_only_quotes_the_guest_is_not_a_force(detail: str, tells: bool) -> None:
    assert is_guest_force(detail) is tells
