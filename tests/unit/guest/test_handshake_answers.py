"""What the agent does about each thing it hears: the pure machine, event by event."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from lamplighter.formats.agent_protocol import Answer, DeadlineNote
from lamplighter.guest.events import (
    Acknowledge,
    Acknowledged,
    Action,
    Answered,
    Arm,
    CheckKernel,
    FindScripts,
    KernelChecked,
    Kill,
    NotBegun,
    Record,
    Release,
    ReportProgress,
    RequestSeen,
    Run,
    Script,
    ScriptEnded,
    ScriptsFound,
    Settings,
    ShutDown,
    SystemStopping,
    Tick,
)
from lamplighter.guest.handshake import CHECK_TIMES, DEFAULT_DEADLINE, RETRY_PAUSE, State, step

if TYPE_CHECKING:
    from lamplighter.guest.events import Event

SETTINGS = Settings(deadline=100.0, grace=2.0, margin=10.0)
FIRST, SECOND = Script("10-first", 30.0), Script("20-second", 5.0)


class Done(list[Action]):
    """What was done. Two actions are alike if they are of one kind, too: tuples alone are not."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and repr(list(self)) == repr(list(other))

    __hash__ = None  # type: ignore[assignment]

    def has(self, action: Action) -> bool:
        return repr(action) in map(repr, self)


class Guest:
    """A machine with everything that it has done so far."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.state = State(settings)
        self.done: list[Action] = []

    def hears(self, *events: Event) -> Done:
        """Tell it of these, one after another; what it does about them, records aside.

        Of an order for the guard it is left out what the host said.
        """
        done: list[Action] = []
        for event in events:
            self.state, actions = step(self.state, event)
            done += [
                action._replace(said="") if isinstance(action, Arm) else action
                for action in actions
            ]
        self.done += done
        return Done(action for action in done if not isinstance(action, Record))

    def recorded(self) -> list[str]:
        return [action.text for action in self.done if isinstance(action, Record)]

    def arms(self) -> list[Arm]:
        return [action for action in self.done if isinstance(action, Arm)]


def going(request: str = "poweroff", at: float = 0.0) -> Guest:
    """A guest that the host has asked: the word was taken, and the system shuts down."""
    guest = Guest()
    guest.hears(
        RequestSeen(at, request.encode()),
        RequestSeen(at, b""),
        SystemStopping(at, request),
        ScriptsFound(at, ()),
    )
    return guest


# --- the kernel takes the word ---


def test_an_empty_node_alone_is_looked_into_and_then_let_be() -> None:
    guest = Guest()
    assert guest.hears(RequestSeen(5.0, b"")) == []
    for after in CHECK_TIMES:
        assert guest.state.wake == 5.0 + after
        assert guest.hears(Tick(5.0 + after)) == [CheckKernel()]
        assert guest.hears(KernelChecked(5.0 + after, None)) == []
    assert guest.state.wake == inf
    assert guest.arms() == [], "a suspend looks like this"


@pytest.mark.parametrize("request_", ["poweroff", "reboot"])
def test_what_the_kernel_has_started_is_evidence(request_: str) -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b""), Tick(5.0), KernelChecked(5.0, None), Tick(5.2))
    done = guest.hears(KernelChecked(5.2, request_))
    assert done == [Arm(request_, 105.2), ReportProgress(f"{request_} has begun"), FindScripts()]


def test_the_hosts_note_is_evidence_and_says_how_much_time_there_is() -> None:
    guest = Guest()
    done = guest.hears(RequestSeen(5.0, b"", DeadlineNote("poweroff", 60)))
    assert Done(done[:1]) == [Arm("poweroff", 55.0)], "ten seconds before the host would destroy it"
    assert done.has(FindScripts())


def test_a_note_beside_a_standing_request_waits_for_the_kernel() -> None:
    guest = Guest()
    assert guest.hears(RequestSeen(5.0, b"poweroff", DeadlineNote("poweroff", 60))) == []
    assert guest.hears(RequestSeen(5.1, b"", DeadlineNote("poweroff", 60))).has(
        Arm("poweroff", 55.0)
    )


def test_the_margin_is_never_more_than_a_part_of_a_short_time() -> None:
    guest = Guest()
    guest.hears(RequestSeen(0.0, b"", DeadlineNote("poweroff", 12)))
    assert guest.arms() == [Arm("poweroff", 9.0)]


def test_its_own_deadline_stands_where_the_host_allows_more() -> None:
    guest = Guest()
    guest.hears(RequestSeen(0.0, b"", DeadlineNote("poweroff", 3600)))
    assert guest.arms() == [Arm("poweroff", 100.0)]


def test_without_one_of_its_own_the_host_says_how_long_it_has() -> None:
    guest = Guest(Settings())
    guest.hears(RequestSeen(0.0, b"", DeadlineNote("poweroff", 600)))
    assert guest.arms() == [Arm("poweroff", 590.0)], "a database that stops for minutes"
    guest = Guest(Settings())
    guest.hears(RequestSeen(0.0, b""), Tick(0.0), KernelChecked(0.0, "poweroff"))
    assert guest.arms() == [Arm("poweroff", DEFAULT_DEADLINE)], "xl shutdown says nothing"
    guest.hears(RequestSeen(50.0, b"", DeadlineNote("poweroff", 300)))
    assert guest.arms()[1:] == [Arm("poweroff", 340.0)], "and then Lamplighter asks as well"


def test_a_guest_that_is_never_to_force_its_end_does_not() -> None:
    guest = Guest(Settings(deadline=inf))
    guest.hears(
        RequestSeen(0.0, b"poweroff"), RequestSeen(0.0, b""), SystemStopping(0.0, "poweroff")
    )
    guest.hears(RequestSeen(1.0, b"", DeadlineNote("poweroff", 60)), Answered(2.0, Answer("a", 50)))
    assert guest.arms() == []


def test_the_time_of_a_request_that_was_taken_back_does_not_count_for_the_next() -> None:
    guest = Guest()
    guest.hears(RequestSeen(0.0, b"poweroff", DeadlineNote("poweroff", 4)), RequestSeen(1.0, b""))
    guest.hears(RequestSeen(10.0, b"poweroff", DeadlineNote("poweroff", 60)))
    guest.hears(RequestSeen(10.1, b"", DeadlineNote("poweroff", 60)))
    assert guest.arms() == [Arm("poweroff", 60.0)]


def test_a_later_note_tells_what_there_is_now() -> None:
    guest = going()
    guest.hears(RequestSeen(1.0, b"", DeadlineNote("poweroff", 50)))
    guest.hears(
        RequestSeen(2.0, b"", DeadlineNote("poweroff", 80)),
        RequestSeen(9.0, b"", DeadlineNote("poweroff", 80)),
    )
    guest.hears(RequestSeen(10.0, b"", DeadlineNote("poweroff", 300)))
    assert [arm.at for arm in guest.arms()] == [100.0, 41.0, 72.0, 100.0]
    guest = Guest(Settings())
    guest.hears(
        RequestSeen(0.0, b"", DeadlineNote("poweroff", 60)),
        RequestSeen(31.0, b"", DeadlineNote("poweroff", 300)),
    )
    assert [arm.at for arm in guest.arms()] == [50.0, 321.0]


def test_an_order_for_the_guard_names_the_words_that_it_follows_from() -> None:
    note, later = DeadlineNote("poweroff", 60), DeadlineNote("poweroff", 60, 2)
    state, said = State(Settings()), []
    for event in (
        *(
            RequestSeen(0.0, b"poweroff"),
            RequestSeen(0.0, b""),
            SystemStopping(0.1, "poweroff"),
            ScriptsFound(0.1, ()),
        ),
        *(
            RequestSeen(1.0, b"", note),
            Answered(2.0, Answer("k1", 90)),
            Answered(3.0, Answer("k2", 95)),
        ),
        *(RequestSeen(4.0, b"", note), RequestSeen(5.0, b"", later)),
    ):
        state, actions = step(state, event)
        said += [action.said for action in actions if isinstance(action, Arm)]
    notes = ["poweroff 60 1", "poweroff 60 1/k1", "poweroff 60 1/k2", "poweroff 60 2/k2"]
    assert said == ["", *notes]


def test_another_request_may_have_the_same_seconds() -> None:
    guest = Guest(Settings())
    first, second = DeadlineNote("poweroff", 60), DeadlineNote("poweroff", 60, 2)
    guest.hears(
        RequestSeen(0.0, b"", first),
        RequestSeen(9.0, b"poweroff", first),
        RequestSeen(31.0, b"", second),
    )
    assert [arm.at for arm in guest.arms()] == [50.0, 81.0]


# --- the guest's own shutdown ---


def test_a_shutdown_that_nobody_asked_for_runs_the_scripts_and_may_take_its_time() -> None:
    guest = Guest()
    done = guest.hears(RequestSeen(1.0, b""), SystemStopping(5.0, "reboot"))
    assert done == [ReportProgress("reboot has begun"), FindScripts()]
    assert guest.hears(ScriptsFound(5.0, ()), Tick(5000.0)).has(Release())
    assert guest.arms() == []


@pytest.mark.parametrize(
    "host",
    [
        [RequestSeen(50.0, b"poweroff"), RequestSeen(50.0, b"")],
        [RequestSeen(50.0, b""), Tick(50.0), KernelChecked(50.0, "poweroff")],
        [RequestSeen(50.0, b"", DeadlineNote("poweroff", 180))],
        [RequestSeen(48.0, b"poweroff"), Acknowledged(50.0, ours=True)],
    ],
)
def test_when_the_host_asks_for_it_too_its_time_is_counted_from_then(host: list[Event]) -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(1.0, b""), SystemStopping(5.0, "poweroff"), ScriptsFound(5.0, ()), *host
    )
    assert guest.arms() == [Arm("poweroff", 150.0)]


def test_an_empty_node_during_the_guests_own_shutdown_is_nobodys_request() -> None:
    guest = Guest()
    guest.hears(RequestSeen(0.0, b""), SystemStopping(100.0, "reboot"), ScriptsFound(100.0, ()))
    guest.hears(RequestSeen(400.0, b"suspend"), RequestSeen(400.1, b""))
    for after in CHECK_TIMES:
        guest.hears(Tick(400.1 + after), KernelChecked(400.1 + after, None))
    assert guest.arms() == [], "it was a migration, or xenbus was opened again"


def test_a_shutdown_after_a_suspend_is_the_guests_own() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(1.0, b"suspend"), RequestSeen(1.1, b""), SystemStopping(8.0, "poweroff")
    )
    assert guest.arms() == []


def test_a_shutdown_long_after_a_word_was_cleared_is_the_guests_own() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(20.0, b"poweroff"), RequestSeen(20.1, b""), SystemStopping(31.0, "poweroff")
    )
    assert guest.arms() == [], "the word was taken back"


def test_a_shutdown_that_follows_a_word_is_the_hosts() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(20.0, b"poweroff"), RequestSeen(20.1, b""), SystemStopping(22.0, "poweroff")
    )
    assert guest.arms() == [Arm("poweroff", 122.0)]


# --- the kernel does not ---


def test_a_request_that_stands_is_acknowledged_after_the_grace_and_begun_here() -> None:
    guest = Guest()
    assert guest.hears(RequestSeen(5.0, b"poweroff"), Tick(6.9)) == []
    assert guest.state.wake == 7.0
    assert guest.hears(Tick(7.0)) == [Acknowledge("poweroff")]
    assert guest.hears(Tick(7.0)) == [], "once"
    done = guest.hears(Acknowledged(7.1, ours=True), ScriptsFound(7.1, ()))
    assert done.has(Arm("poweroff", 107.1))
    assert Done(done[-2:]) == [Release(), ShutDown("poweroff")]


def test_init_that_begins_meanwhile_is_not_told_to_begin() -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff"), Tick(7.0), Acknowledged(7.1, ours=True))
    done = guest.hears(SystemStopping(7.2, "poweroff"), ScriptsFound(7.3, ()))
    assert done.has(Release())
    assert not done.has(ShutDown("poweroff"))


def test_who_was_faster_is_looked_for() -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff"), Tick(7.0))
    assert guest.hears(Acknowledged(7.1, ours=False), Tick(7.1)) == [CheckKernel()]
    assert guest.arms() == []


def test_a_request_that_xenstore_does_not_let_be_acknowledged_is_not_given_up() -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff"))
    for moment in (7.0, 7.1 + RETRY_PAUSE + 2.0, 14.2 + RETRY_PAUSE + 2.0):
        assert guest.state.wake == pytest.approx(moment)
        assert guest.hears(Tick(moment)) == [Acknowledge("poweroff")]
        assert guest.hears(Acknowledged(moment + 0.1, None, "the quota is spent")) == []
    told = "the poweroff cannot be acknowledged: the quota is spent"
    assert guest.recorded()[1:] == [told], "once"
    guest.hears(
        RequestSeen(22.0, b"reboot"), Tick(24.0), Acknowledged(24.0, None, "the quota is spent")
    )
    assert guest.recorded()[-1] == "the reboot cannot be acknowledged: the quota is spent"
    guest.hears(Tick(31.0), Acknowledged(31.0, ours=True))
    assert guest.state.begins == "reboot"


def test_a_request_that_cannot_be_acknowledged_leaves_time_in_between() -> None:
    guest = Guest(Settings(grace=0.0))
    guest.hears(RequestSeen(5.0, b"poweroff"), Tick(5.0), Acknowledged(5.0, None, "refused"))
    assert guest.state.wake == 5.0 + RETRY_PAUSE


def test_a_shutdown_that_cannot_be_begun_is_tried_again_until_init_says_so() -> None:
    guest = acknowledged()
    guest.hears(ScriptEnded(20.0, "10-first"))
    assert guest.state.begins == ""
    assert guest.hears(NotBegun(40.0, "exit status 1")) == []
    assert guest.recorded()[-1] == "the poweroff could not be begun: exit status 1"
    assert guest.state.begins == "poweroff", "an agent that follows this one has to know"
    assert guest.state.wake == 40.0 + RETRY_PAUSE
    assert guest.hears(Tick(44.9)) == []
    assert guest.hears(Tick(45.0)) == [ShutDown("poweroff")]
    assert (guest.state.begins, guest.state.wake) == ("", inf)
    guest.hears(NotBegun(46.0, "exit status 1"), SystemStopping(47.0, "poweroff"))
    assert (guest.state.begins, guest.state.wake) == ("", inf)
    guest.hears(NotBegun(48.0, "killed by SIGTERM"))
    assert (guest.state.begins, guest.state.wake) == ("", inf), "it has begun all the same"


def acknowledged(note: DeadlineNote | None = None) -> Guest:
    """A guest whose kernel took nothing: the agent did, and the first script runs."""
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff", note), Tick(7.0), Acknowledged(7.0, ours=True))
    guest.hears(ScriptsFound(7.0, (FIRST,)))
    return guest


@pytest.mark.parametrize("request_", ["poweroff", "reboot"])
def test_a_second_request_leaves_the_agent_what_is_its_to_begin(request_: str) -> None:
    guest = acknowledged()
    guest.hears(RequestSeen(10.0, request_.encode()), Tick(12.0), Acknowledged(12.0, ours=True))
    assert guest.hears(ScriptEnded(20.0, "10-first")).has(ShutDown("poweroff"))
    guest.hears(RequestSeen(30.0, request_.encode()), Tick(32.0), Acknowledged(32.0, ours=True))
    assert [action for action in guest.done if isinstance(action, ShutDown)] == [
        ShutDown("poweroff")
    ], "once"


def test_init_that_begins_after_a_second_request_is_not_told_to_begin() -> None:
    guest = acknowledged()
    guest.hears(RequestSeen(10.0, b"poweroff"), Tick(12.0), Acknowledged(12.0, ours=True))
    guest.hears(SystemStopping(13.0, "poweroff"))
    assert not guest.hears(ScriptEnded(20.0, "10-first")).has(ShutDown("poweroff"))


# --- an agent that follows another one ---


@pytest.mark.parametrize("note", [None, DeadlineNote("poweroff", 60)])
@pytest.mark.parametrize("word", [b"", b"poweroff"])
def test_what_an_agent_took_before_it_was_killed_is_begun_by_the_next(
    note: DeadlineNote | None, word: bytes
) -> None:
    killed = acknowledged(note)
    assert killed.state.begins == "poweroff"
    guest = Guest()
    guest.state = State(SETTINGS, acknowledging=killed.state.begins, acknowledged=True)
    assert guest.state.wake == inf
    done = guest.hears(RequestSeen(30.0, word, note), ScriptsFound(30.0, (FIRST,)))
    assert done[0] == Arm("poweroff", 80.0 if note else 130.0), "the note is known by then"
    done = guest.hears(ScriptEnded(40.0, "10-first"))
    assert Done(done[-2:]) == [Release(), ShutDown("poweroff")]
    assert guest.state.begins == ""


def test_what_was_taken_and_then_begun_by_init_is_not_begun_again() -> None:
    guest = Guest()
    guest.state = State(SETTINGS, acknowledging="poweroff", acknowledged=True)
    guest.hears(
        SystemStopping(29.0, "poweroff"), RequestSeen(30.0, b"", DeadlineNote("poweroff", 60))
    )
    assert not guest.hears(ScriptsFound(30.0, ())).has(ShutDown("poweroff"))


@pytest.mark.parametrize(
    ("heard", "begins"),
    [
        (RequestSeen(9.0, b"", DeadlineNote("poweroff", 60)), True),
        (RequestSeen(9.0, b""), False),  # taken back, note and all, or no note was ever left
        (
            RequestSeen(9.0, b"poweroff", DeadlineNote("poweroff", 60)),
            False,
        ),  # it was not done, and is again
    ],
)
def test_a_connection_that_is_lost_while_a_request_is_acknowledged(
    heard: RequestSeen, begins: bool
) -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff", DeadlineNote("poweroff", 60)), Tick(7.0))
    assert guest.state.acknowledging == "poweroff", "to be written down before it is done"
    guest.hears(Acknowledged(7.0, ours=None))
    assert guest.state.acknowledging == "poweroff"
    done = guest.hears(heard, ScriptsFound(9.0, ())) if begins else guest.hears(heard)
    assert done.has(ShutDown("poweroff")) is begins
    assert guest.state.acknowledging == ""
    assert bool(guest.arms()) is begins
    if heard.value:
        assert guest.hears(Tick(11.0)) == [Acknowledge("poweroff")]


def test_a_connection_that_is_lost_while_the_kernel_takes_it() -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff"), Tick(7.0), Acknowledged(7.0, ours=None))
    guest.hears(
        Tick(7.0),
        KernelChecked(7.0, "poweroff"),
        RequestSeen(9.0, b"", DeadlineNote("poweroff", 60)),
    )
    assert not guest.hears(ScriptsFound(9.0, ())).has(ShutDown("poweroff"))


def test_a_request_that_is_taken_back_is_forgotten() -> None:
    guest = Guest()
    guest.hears(RequestSeen(5.0, b"poweroff"), RequestSeen(6.0, b""))
    for after in CHECK_TIMES:
        guest.hears(Tick(6.0 + after), KernelChecked(6.0 + after, None))
    assert guest.state.wake == inf
    assert guest.arms() == []
    assert "the poweroff was taken, or taken back" in guest.recorded()


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


def test_another_request_after_a_grant_tells_how_much_time_there_is() -> None:
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


def test_words_that_leave_the_moment_where_it_is_are_kept_with_it() -> None:
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
