"""Second requests, the scripts of a shutdown, and more time: the agent's pure decisions."""

from __future__ import annotations

from math import inf

from lamplighter.formats.agent_protocol import Answer, DeadlineNote
from lamplighter.guest.events import (
    Acknowledge,
    Acknowledged,
    Answered,
    Arm,
    KernelChecked,
    Kill,
    Release,
    ReportProgress,
    RequestSeen,
    Run,
    ScriptEnded,
    ScriptsFound,
    Settings,
    SystemStopping,
    Tick,
)
from lamplighter.guest.handshake import CHECK_TIMES, State, step
from tests.handshakes import FIRST, SECOND, Done, Guest, going

# --- second requests, nonsense, suspend ---


def test_a_second_request_is_recorded_and_acknowledged_and_begins_nothing() -> None:
    guest = going()
    assert guest.hears(RequestSeen(3.0, b"poweroff"), Tick(5.0)) == [Acknowledge("poweroff")]
    assert guest.hears(Acknowledged(5.0, ours=True)) == []
    assert "the host asks for a poweroff" in guest.recorded()


def test_a_poweroff_during_a_reboot_turns_the_force_into_a_poweroff() -> None:
    guest = going("reboot")
    done = guest.hears(RequestSeen(3.0, b"poweroff"), Tick(5.0), Acknowledged(5.0, ours=True))
    assert done == [Acknowledge("poweroff"), Arm("poweroff", 100.0)]


def test_a_reboot_during_a_poweroff_stays_a_poweroff() -> None:
    guest = going()
    done = guest.hears(RequestSeen(3.0, b"reboot"), Tick(5.0), Acknowledged(5.0, ours=True))
    assert done == [Acknowledge("reboot")]


def test_nonsense_is_left_standing_and_recorded_once_however_often_it_changes() -> None:
    guest = Guest()
    for number in range(100):
        assert guest.hears(RequestSeen(float(number), b"\xff" * 4000 + bytes([number]))) == []
    assert guest.state.wake == inf
    assert len(guest.recorded()) == 1
    assert "holds no request" in guest.recorded()[0]
    assert len(guest.recorded()[0]) < 300


def test_a_suspend_is_noted_and_left_to_the_kernel() -> None:
    guest = Guest()
    assert guest.hears(RequestSeen(1.0, b"suspend"), RequestSeen(1.1, b"suspend")) == []
    assert guest.state.wake == inf
    assert len(guest.recorded()) == 1
    guest.hears(RequestSeen(2.0, b""))
    for after in CHECK_TIMES:
        guest.hears(Tick(2.0 + after), KernelChecked(2.0 + after, None))
    assert guest.arms() == []


def test_each_suspend_is_noted() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(1.0, b"suspend"), RequestSeen(2.0, b""), RequestSeen(1000.0, b"suspend")
    )
    assert len(guest.recorded()) == 2


# --- scripts ---


def test_scripts_run_in_order_before_the_systems_shutdown_goes_on() -> None:
    guest = Guest()
    done = guest.hears(SystemStopping(0.0, "reboot"), ScriptsFound(0.0, (FIRST, SECOND)))
    assert Done(done[-2:]) == [ReportProgress("running 10-first"), Run(FIRST, "reboot")]
    assert not done.has(Release())
    assert guest.hears(ScriptEnded(4.0, "10-first")) == [
        ReportProgress("running 20-second"),
        Run(SECOND, "reboot"),
    ]
    last = guest.hears(ScriptEnded(5.0, "20-second", "exit status 1"))
    assert last == [ReportProgress("the system is stopping its services"), Release()]
    assert "10-first: done" in guest.recorded()
    assert "20-second: exit status 1" in guest.recorded()


def test_a_script_that_outlasts_its_deadline_is_ended_and_the_next_one_runs() -> None:
    guest = Guest()
    guest.hears(SystemStopping(0.0, "poweroff"), ScriptsFound(1.0, (FIRST, SECOND)))
    assert guest.state.wake == 31.0
    assert guest.hears(Tick(31.0)) == [Kill(FIRST)]
    assert guest.hears(Tick(32.0)) == [], "once"
    assert guest.hears(ScriptEnded(36.0, "10-first", "killed")).has(Run(SECOND, "poweroff"))


def test_a_script_that_cannot_even_be_killed_does_not_hold_the_shutdown_up() -> None:
    guest = Guest()
    guest.hears(SystemStopping(0.0, "poweroff"), ScriptsFound(0.0, (FIRST, SECOND)), Tick(30.0))
    assert guest.state.wake == 45.0
    assert guest.hears(Tick(45.0)).has(Run(SECOND, "poweroff"))
    assert guest.hears(ScriptEnded(46.0, "10-first", "killed by SIGKILL")) == []
    assert guest.hears(ScriptEnded(47.0, "20-second")).has(Release())


def test_an_end_that_belongs_to_no_script_is_no_news() -> None:
    guest = going()
    assert guest.hears(ScriptEnded(1.0, "10-first")) == []


def test_whoever_asks_again_after_the_scripts_is_let_go_at_once() -> None:
    guest = going()
    assert guest.hears(SystemStopping(9.0, "poweroff")) == [Release()]


def test_going_is_not_called_off() -> None:
    guest = going()
    guest.hears(RequestSeen(1.0, b"poweroff"), RequestSeen(2.0, b""))
    assert guest.state.going == "poweroff"
    assert guest.arms() == [Arm("poweroff", 100.0)]


# --- more time ---


def test_granted_time_moves_the_force() -> None:
    guest = going()
    guest.hears(RequestSeen(0.0, b"", DeadlineNote("poweroff", 40)))
    guest.hears(Answered(20.0, Answer("a", 50)))
    assert guest.arms()[-1] == Arm("poweroff", 60.0)
    guest.hears(RequestSeen(21.0, b"", DeadlineNote("poweroff", 40)))
    assert guest.arms()[-1] == Arm("poweroff", 60.0), "the note of before takes nothing back"


def test_another_request_after_a_grant_shows_how_much_time_there_is() -> None:
    guest = going()
    guest.hears(
        RequestSeen(0.0, b"", DeadlineNote("poweroff", 40)), Answered(20.0, Answer("a", 50))
    )
    assert guest.arms()[-1] == Arm("poweroff", 60.0)
    guest.hears(RequestSeen(21.0, b"", DeadlineNote("poweroff", 600)))
    assert guest.arms()[-1] == Arm("poweroff", 611.0), "the grant has lifted its own deadline"
    guest.hears(
        RequestSeen(22.0, b"", DeadlineNote("poweroff", 20)),
        RequestSeen(30.0, b"", DeadlineNote("poweroff", 20)),
    )
    assert guest.arms()[-1] == Arm("poweroff", 37.0), "and it is read once"


def test_a_run_that_goes_on_does_not_end_the_guest_in_the_time_that_was_granted() -> None:
    guest = Guest(Settings(deadline=30.0))
    guest.hears(
        RequestSeen(0.0, b"", DeadlineNote("poweroff", 60)), Answered(10.0, Answer("k1", 110))
    )
    guest.hears(RequestSeen(40.0, b"", DeadlineNote("poweroff", 140, 2)))
    assert [arm.at for arm in guest.arms()] == [30.0, 110.0, 170.0]


def test_a_basis_that_leaves_the_moment_where_it_is_is_kept_with_it() -> None:
    state, arms = State(Settings(deadline=30.0)), []
    for event in (
        RequestSeen(0.0, b"", DeadlineNote("poweroff", 60)),
        RequestSeen(1.0, b"", DeadlineNote("poweroff", 60)),
        RequestSeen(5.0, b"", DeadlineNote("poweroff", 60, 2)),
    ):
        state, actions = step(state, event)
        arms += [action for action in actions if isinstance(action, Arm)]
    assert arms == [
        Arm("poweroff", 30.0, "poweroff 60 1"),
        Arm("poweroff", 30.0, "poweroff 60 2"),
    ]


def test_refused_time_changes_nothing() -> None:
    guest = going()
    assert guest.hears(Answered(20.0, Answer("a", None, "30 s are left"))) == []
    assert "more time was refused: 30 s are left" in guest.recorded()


def test_an_answer_before_anything_begins_arms_nothing() -> None:
    guest = Guest()
    guest.hears(Answered(20.0, Answer("a", 50)))
    assert guest.arms() == []
