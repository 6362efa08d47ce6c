"""Boot's end, awaited with a systemctl that says what it is told, and the checks after it."""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING

import pytest

from lamplighter.guest import readiness
from lamplighter.guest.config import Paths
from lamplighter.guest.log import Log
from lamplighter.guest.processes import LAST_CHANCE, Children
from lamplighter.guest.readiness import BOOTING, GOING, LONG_PAUSE, PAUSE, RESCUE, BootWatch

if TYPE_CHECKING:
    from pathlib import Path


class Guest:
    """A guest that boots: what it told, and its children's ends handed over one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[bool, str]] = []
        self.children = Children()
        self.boot = BootWatch(
            Paths(etc=str(folder)),
            60.0,
            self.children,
            Log(marked=False, descriptor=-1),
            lambda ready, waits_for: self.told.append((ready, waits_for)),
        )

    def systemctl(self, text: str) -> None:
        program(self.folder / "systemctl", f'echo "$@" >> {self.folder}/asked\n{text}')

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def check(self, name: str, text: str) -> None:
        (self.folder / "ready.d").mkdir(exist_ok=True)
        program(self.folder / "ready.d" / name, text)

    def end(self, now: float) -> None:
        """Wait for the child that runs and hand its end over."""
        pid = self.boot._asking or self.boot._check
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert self.boot.ended(pid, dict(self.children.reap())[pid], now)


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(readiness, "systemd_runs", lambda: True)
    return Guest(tmp_path)


@pytest.mark.parametrize("word", ["running", "degraded"])
def test_systemd_says_when_it_has_booted(guest: Guest, word: str) -> None:
    guest.systemctl(f"echo {word}; exit 1")
    guest.boot.begin(0.0)
    assert guest.told == [(False, BOOTING)]
    assert guest.boot.wake == inf  # nobody looks again and again
    guest.end(100.0)
    assert guest.told[1:] == [(True, "")]
    assert guest.asked() == ["is-system-running --wait"]
    assert guest.boot.wake == inf


def test_an_agent_that_begins_in_the_middle_of_a_shutdown_is_not_ready(guest: Guest) -> None:
    guest.systemctl("echo stopping; exit 1")
    guest.check("10-a", f"touch {guest.folder}/ran")
    guest.boot.begin(0.0)
    guest.end(1.0)
    assert guest.told == [(False, BOOTING), (False, GOING)]
    assert guest.boot.wake == inf
    assert not (guest.folder / "ran").exists()


def test_a_guest_in_emergency_mode_waits_for_whoever_mends_it(guest: Guest) -> None:
    guest.systemctl("echo maintenance; exit 1")
    guest.boot.begin(0.0)
    guest.end(1.0)
    assert guest.told == [(False, BOOTING), (False, RESCUE)]
    assert guest.boot.wake == 1.0 + LONG_PAUSE
    for word in ("starting", "running"):
        guest.systemctl(f"echo {word}")
        guest.boot.tick(guest.boot.wake)
        guest.end(62.0)
    assert guest.told[2:] == [(False, BOOTING), (True, "")]


def test_a_check_that_was_taken_away_keeps_nobody_waiting(guest: Guest) -> None:
    guest.systemctl("echo running")
    guest.check("10-a", "exit 4")
    guest.boot.begin(0.0)
    guest.end(1.0)
    guest.end(2.0)
    (guest.folder / "ready.d" / "10-a").unlink()
    guest.boot.tick(guest.boot.wake)
    assert guest.told[-1] == (True, "")


def test_a_systemd_that_cannot_be_waited_for_is_asked_again(guest: Guest) -> None:
    guest.systemctl("echo 'unrecognized option' >&2; exit 1")
    guest.boot.begin(0.0)
    guest.end(1.0)
    assert guest.boot.wake == 1.0 + PAUSE
    guest.systemctl("echo starting; exit 1")
    guest.boot.tick(guest.boot.wake)
    guest.end(7.0)
    assert guest.boot.wake == 7.0 + PAUSE
    guest.systemctl("echo running")
    guest.boot.tick(guest.boot.wake)
    guest.end(13.0)
    assert guest.told == [(False, BOOTING), (True, "")]
    assert guest.asked() == ["is-system-running --wait", *["is-system-running"] * 2]


def test_without_systemd_the_boot_is_over_at_once(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "systemd_runs", lambda: False)
    guest.boot.begin(0.0)
    assert guest.told == [(False, BOOTING), (True, "")]


def test_a_check_that_fails_is_reported_and_one_that_hangs_is_ended(guest: Guest) -> None:
    guest.systemctl("echo running")
    guest.check("10-a", "exit 4")
    guest.check("20-b", "# lamplighter-deadline: 2s\nexec sleep 1000")
    guest.boot.begin(0.0)
    guest.end(1.0)
    guest.end(2.0)
    guest.check("10-a", "exit 0")
    guest.boot.tick(guest.boot.wake)
    guest.end(8.0)
    assert guest.boot.wake == 10.0
    guest.boot.tick(10.0)
    assert guest.children.wake == 10.0 + LAST_CHANCE
    guest.end(11.0)
    assert guest.told == [
        (False, BOOTING),
        (False, "10-a: running"),
        (False, "10-a: exit status 4"),
        (False, "20-b: running"),
        (False, "20-b: killed by SIGTERM"),
    ]
    assert guest.boot.wake == 16.0


def test_a_check_finds_the_agent_by_its_name(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "systemd_runs", lambda: False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    guest.check("10-a", 'test "$PATH" = /usr/bin:/bin:/usr/local/sbin:/usr/local/bin')
    guest.boot.begin(0.0)
    guest.end(1.0)
    assert guest.told[-1] == (True, "")


def test_a_check_that_cannot_be_started_is_tried_again(guest: Guest) -> None:
    guest.systemctl("echo running")
    guest.check("10-a", "")
    (guest.folder / "ready.d/10-a").write_text("no program")
    guest.boot.begin(0.0)
    guest.end(1.0)
    assert guest.told[-1] == (False, "10-a: it cannot be started: Exec format error")
    assert guest.boot.wake == 6.0


def test_a_system_that_goes_is_no_longer_asked(guest: Guest) -> None:
    guest.systemctl("exec sleep 1000")
    guest.boot.begin(0.0)
    guest.boot.give_up(1.0)
    assert guest.told[-1] == (False, GOING)
    guest.end(2.0)
    assert guest.boot.wake == inf
    guest.boot.tick(100.0)
    assert guest.boot._asking == 0


def test_other_processes_are_none_of_its_own(guest: Guest) -> None:
    assert not guest.boot.ended(12345, 0, 0.0)
