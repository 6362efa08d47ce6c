"""A request that the kernel leaves in place: the agent acknowledges it, and begins the shutdown."""

from __future__ import annotations

from math import inf

import pytest

from lamplighter.formats.agent_protocol import DeadlineNote
from lamplighter.guest.events import (
    Acknowledge,
    Acknowledged,
    Arm,
    CheckKernel,
    KernelChecked,
    NotBegun,
    Release,
    RequestSeen,
    ScriptEnded,
    ScriptsFound,
    Settings,
    ShutDown,
    SystemStopping,
    Tick,
)
from lamplighter.guest.handshake import CHECK_TIMES, RETRY_PAUSE, State
from tests.handshakes import FIRST, SETTINGS, Done, Guest

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
