"""When a guest is ready: the decisions, moment by moment."""

from __future__ import annotations

from math import inf

from lamplighter.guest.readiness import BOOTING, GOING, Readiness
from lamplighter.guest.scripts import Program

A, B = Program("10-a", "/a", 30.0), Program("20-b", "/b", 60.0)


def test_a_guest_without_checks_is_ready_when_it_has_booted() -> None:
    readiness = Readiness()
    assert (readiness.ready, readiness.waits_for) == (False, BOOTING)
    assert readiness.set_checks([], 1.0) is None
    assert (readiness.ready, readiness.waits_for) == (True, "")
    assert readiness.wake == readiness.overdue == inf


def test_checks_run_one_after_another_until_each_has_passed() -> None:
    readiness = Readiness()
    assert readiness.set_checks([A, B], 1.0) == A
    assert readiness.overdue == 31.0
    assert readiness.ended(None, 2.0) == B
    assert (readiness.ready, readiness.waits_for) == (False, "20-b: running")
    assert readiness.ended(None, 3.0) is None
    assert readiness.ready
    assert readiness.wake == inf


def test_a_check_that_fails_is_tried_again_after_growing_pauses() -> None:
    readiness = Readiness()
    readiness.set_checks([A, B], 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        assert readiness.ended("exit status 1", now) is None
        assert readiness.waits_for == "10-a: exit status 1"
        pauses.append(readiness.wake - now)
        now = readiness.wake
        assert readiness.set_checks([A, B], now) == A
        assert readiness.waits_for == "10-a: exit status 1"  # until something else is known
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert readiness.ended(None, now) == B
    readiness.ended("exit status 1", now)
    assert readiness.wake == now + 5.0


def test_checks_that_come_and_go_are_looked_for_each_time() -> None:
    readiness = Readiness()
    readiness.set_checks([A, B], 0.0)
    assert readiness.ended(None, 1.0) == B
    readiness.ended("exit status 1", 2.0)
    added = Program("05-new", "/new", 30.0)
    assert readiness.set_checks([added, A, B], 7.0) == added, "and what has passed is not run again"
    assert readiness.ended(None, 8.0) == B
    readiness.ended("exit status 1", 9.0)
    assert readiness.set_checks([added, A], 14.0) is None
    assert (readiness.ready, readiness.waits_for) == (True, "")


def test_nothing_is_tried_when_the_system_goes() -> None:
    readiness = Readiness()
    readiness.set_checks([A], 0.0)
    readiness.ended("exit status 1", 1.0)
    readiness.give_up()
    assert (readiness.wake, readiness.waits_for) == (inf, GOING)
    assert readiness.set_checks([A], 100.0) is None
    booting = Readiness()
    booting.give_up()
    assert booting.set_checks([A], 1.0) is None
    running = Readiness()
    running.set_checks([A], 0.0)
    running.give_up()
    assert running.ended(None, 1.0) is None
    assert not running.ready


def test_a_guest_that_was_ready_stays_so_to_the_end() -> None:
    readiness = Readiness()
    readiness.set_checks([], 0.0)
    readiness.give_up()
    assert (readiness.ready, readiness.waits_for) == (True, "")
