"""What systemd is taken to want, for every job and every answer that it may give."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd.units import SERVICE
from lamplighter.service.unit import systemd_job
from lamplighter.service.unit.systemd_job import UnitJob

if TYPE_CHECKING:
    from pathlib import Path

RESTART = f"7 {SERVICE} restart running"
STOP = f"8 {SERVICE} stop running"
SHUTDOWN = "9 shutdown.target start waiting"
DEAF = "DEAF"


class Systemd:
    """A ``systemctl`` that answers with the jobs it is given, and the unit's commands under it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(systemd_job, "PAUSE", 0.0)
        self.program = folder / "systemctl"
        self.asked = folder / "asked"
        self.run = folder / "run"
        self.invocation = 1
        self.jobs()

    def jobs(self, *lines: str) -> None:
        """These are the jobs from now on; ``DEAF``: systemd answers nothing."""
        answer = "exit 1" if DEAF in lines else f"printf '%s' '{chr(10).join(lines)}'"
        self.program.write_text(f'#!/bin/sh\necho "$*" >> {self.asked}\n{answer}\n')
        self.program.chmod(0o755)

    def jobs_after_a_silence(self, *lines: str) -> None:
        """The next question has no answer, and the ones after it have this one."""
        once = self.program.with_name("once")
        once.touch()
        self.jobs(*lines)
        there = self.program.read_text().partition("\n")[2]
        silent = f"if [ -e {once} ]; then /bin/rm {once}; exit 1; fi"
        self.program.write_text(f"#!/bin/sh\n{silent}\n{there}")

    def command(self, result: str = "success", ended: str = "143") -> UnitJob:
        """A command of the unit, whose start has ended like this."""
        environ = {"INVOCATION_ID": f"{self.invocation:032x}", "SERVICE_RESULT": result}
        environ["EXIT_STATUS"] = ended
        return UnitJob(self.run, environ, LoopClock())

    def start(self) -> bool:
        """ExecStart= in an invocation of its own; whether it moves domains."""
        self.invocation += 1
        return asyncio.run(self.command().start()) is None

    def stop(self) -> bool:
        """ExecStop=, carried out if it is one; whether it moves domains."""
        command = self.command()
        moves = asyncio.run(command.stop()) is None
        if moves:
            command.stopped()
        return moves

    def after_stop(self, result: str = "success", ended: str = "143") -> bool:
        """ExecStopPost=, likewise."""
        return asyncio.run(self.command(result, ended).after_stop()) is None


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(tmp_path, monkeypatch)


def test_a_boot_asks_nobody(systemd: Systemd) -> None:
    systemd.jobs(DEAF)
    assert systemd.start()
    assert not systemd.asked.exists()


@pytest.mark.parametrize(
    "jobs", [(), (STOP,), (STOP, SHUTDOWN), (RESTART, SHUTDOWN), (DEAF,), ("No jobs listed.",)]
)
def test_a_stop_is_a_stop_unless_it_is_surely_a_restart(
    systemd: Systemd, jobs: tuple[str, ...]
) -> None:
    assert systemd.start()
    systemd.jobs(*jobs)
    assert systemd.stop()
    assert not systemd.after_stop(), "once is enough"
    systemd.jobs(f"7 {SERVICE} start running")
    assert systemd.start()


def test_a_restart_moves_nothing(systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    assert systemd.start()
    for number in (7, 12):
        systemd.jobs(f"{number} {SERVICE} restart running", "1 other.service stop running")
        assert not systemd.stop()
        assert not systemd.after_stop()
        systemd.jobs(f"{number} {SERVICE} start running")
        assert not systemd.start()
    systemd.jobs(STOP)
    assert systemd.stop()
    assert caplog.messages == []


def test_a_systemd_that_re_executes_itself_is_asked_again(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    systemd.jobs_after_a_silence(RESTART)
    assert not systemd.stop()
    systemd.jobs_after_a_silence(RESTART)
    assert not systemd.after_stop()
    systemd.jobs_after_a_silence(f"7 {SERVICE} start running")
    assert not systemd.start()
    assert caplog.messages == []


def test_the_start_after_a_restart_s_is_a_start_again(systemd: Systemd) -> None:
    systemd.jobs(RESTART)
    assert not systemd.stop()
    systemd.jobs(f"7 {SERVICE} start running")
    assert not systemd.start()
    assert systemd.start()


@pytest.mark.parametrize(
    "answer", [f"8 {SERVICE} start running", f"7 {SERVICE} stop running", "", DEAF]
)
def test_a_start_is_a_start_unless_it_surely_belongs_to_a_restart(
    systemd: Systemd, answer: str
) -> None:
    systemd.jobs(RESTART)
    assert not systemd.stop()
    systemd.jobs(answer)
    assert systemd.start()


def test_a_host_s_stop_that_overtakes_a_restart_stops_all(systemd: Systemd) -> None:
    systemd.jobs(RESTART)
    assert not systemd.stop()
    systemd.jobs(STOP, SHUTDOWN)
    assert systemd.after_stop()


def test_a_stop_that_comes_while_the_unit_starts_is_done_after_it(systemd: Systemd) -> None:
    assert systemd.start()
    systemd.jobs(STOP)
    assert systemd.after_stop()


def test_a_stop_that_broke_off_is_done_again(systemd: Systemd) -> None:
    assert systemd.start()
    systemd.jobs(STOP)
    assert asyncio.run(systemd.command().stop()) is None, "and then it was killed"
    assert systemd.after_stop("timeout")


def test_a_restart_of_a_start_under_way_lets_it_go_on(systemd: Systemd) -> None:
    assert systemd.start()
    systemd.jobs(RESTART)
    assert not systemd.after_stop()
    systemd.jobs(f"7 {SERVICE} start running")
    assert systemd.start()


@pytest.mark.parametrize("ended", ["0", "1"])
def test_a_restart_while_the_unit_is_reloaded_moves_nothing(systemd: Systemd, ended: str) -> None:
    assert systemd.start()
    systemd.jobs(RESTART)
    assert not systemd.after_stop(ended=ended), "and there was no ExecStop="
    systemd.jobs(f"7 {SERVICE} start running")
    assert not systemd.start()


def test_a_stop_while_the_unit_is_reloaded_is_a_stop(systemd: Systemd) -> None:
    assert systemd.start()
    systemd.jobs(STOP)
    assert systemd.after_stop("signal", ended="0")


@pytest.mark.parametrize("jobs", [(), (f"5 {SERVICE} start running",), (DEAF,)])
def test_a_start_that_hung_moves_nothing(systemd: Systemd, jobs: tuple[str, ...]) -> None:
    assert systemd.start()
    systemd.jobs(*jobs)
    assert not systemd.after_stop("timeout")


def test_a_start_that_hung_while_the_host_stops_does(systemd: Systemd) -> None:
    assert systemd.start()
    systemd.jobs(SHUTDOWN)
    assert systemd.after_stop("timeout")


def test_what_cannot_be_found_out_after_a_stop(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    assert systemd.start()
    systemd.jobs(DEAF)
    assert systemd.after_stop(), "a start was interrupted, by what is not known"
    systemd.jobs(RESTART)
    assert not systemd.stop()
    systemd.jobs(DEAF)
    assert not systemd.after_stop(), "it was a restart a moment ago"
    assert "what systemd is about to do is not known" in caplog.text


def test_a_note_of_another_boot_or_of_nobody_is_not_believed(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.jobs(RESTART)
    assert not systemd.stop()
    systemd.jobs(f"7 {SERVICE} start running")
    monkeypatch.setattr(systemd_job, "boot_id", lambda: "another")
    assert systemd.start()
    for text in ("", "[]", "{}", '{"how": 1}', "9" * 10_000, "[" * 10_000, "\xff"):
        (systemd.run / "unit.json").write_text(text)
        assert systemd.start()


def test_a_note_that_cannot_be_written_is_reported(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    systemd.run.write_text("in the way")
    systemd.jobs(RESTART)
    assert not systemd.stop()
    (line,) = caplog.messages
    assert "unit.json cannot be written" in line


def test_without_an_invocation_no_note_is_kept(systemd: Systemd) -> None:
    command = UnitJob(systemd.run, {}, LoopClock())
    command.stopped()
    assert not systemd.run.exists()


def test_the_note_is_for_root_s_eyes(systemd: Systemd) -> None:
    systemd.command().stopped()
    note = systemd.run / "unit.json"
    assert note.stat().st_mode & 0o777 == 0o600
    assert json.loads(note.read_text())["how"] == "stopped"
