"""What the agent does about each thing it hears: the pure machine, event by event."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from lamplighter.formats.agent_protocol import Answer, DeadlineNote
from lamplighter.guest.events import (
    Acknowledged,
    Answered,
    Arm,
    CheckKernel,
    FindScripts,
    KernelChecked,
    Release,
    ReportProgress,
    RequestSeen,
    ScriptsFound,
    Settings,
    SystemStopping,
    Tick,
)
from lamplighter.guest.handshake import CHECK_TIMES, DEFAULT_DEADLINE, State, step
from tests.handshakes import Done, Guest, going

if TYPE_CHECKING:
    from lamplighter.guest.events import Event

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


def test_a_later_note_shows_what_there_is_now() -> None:
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


def test_an_order_for_the_guard_names_its_basis() -> None:
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
        said += [action.basis for action in actions if isinstance(action, Arm)]
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


def test_a_shutdown_long_after_a_request_was_cleared_is_the_guests_own() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(20.0, b"poweroff"), RequestSeen(20.1, b""), SystemStopping(31.0, "poweroff")
    )
    assert guest.arms() == [], "the word was taken back"


def test_a_shutdown_that_follows_a_request_is_the_hosts() -> None:
    guest = Guest()
    guest.hears(
        RequestSeen(20.0, b"poweroff"), RequestSeen(20.1, b""), SystemStopping(22.0, "poweroff")
    )
    assert guest.arms() == [Arm("poweroff", 122.0)]
