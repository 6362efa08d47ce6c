from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import CallFailed, CallTimedOut
from lamplighter.host.systemd import systemctl
from lamplighter.host.systemd.systemctl import (
    Job,
    enable_units,
    list_jobs,
    reload_units,
    systemd_runs,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``systemctl`` of our own, the only program that can be found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "systemctl"


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_unit_is_enabled_and_never_started(program: Path) -> None:
    told = program.parent / "told"
    write(program, f'echo "$*" >> {told}')
    reload_units()
    enable_units("x.service", "y.service")
    assert told.read_text().splitlines() == [
        "--no-ask-password daemon-reload",
        "--no-ask-password enable --quiet x.service y.service",
    ]


def test_a_failure_has_systemds_own_message_and_says_what_is_left_to_do(program: Path) -> None:
    write(program, "echo 'Failed to enable unit: it is masked' >&2; exit 1")
    with pytest.raises(CallFailed) as caught:
        enable_units("x.service")
    assert "it is masked" in caught.value.message
    assert "type systemctl enable --quiet x.service" in caught.value.hint


def test_it_gets_nothing_of_our_environment_but_where_programs_are(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEMD_COLORS", "1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    write(program, f'PATH="$PATH:/usr/bin:/bin"; env > {program.parent}/told')
    reload_units()
    told = (program.parent / "told").read_text().splitlines()
    assert "LC_ALL=C" in told
    assert not [line for line in told if line.startswith("SYSTEMD_")]


def test_a_failure_without_output(program: Path) -> None:
    write(program, "exit 7")
    with pytest.raises(CallFailed, match="systemctl daemon-reload failed: exit status 7"):
        reload_units()


def test_one_that_hangs_is_given_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemctl, "TIMEOUT", 0.05)
    write(program, "exec /bin/sleep 60")
    with pytest.raises(CallTimedOut, match=r"did not return within 0\.05 s"):
        reload_units()


def test_a_host_without_it(program: Path) -> None:
    assert not program.exists()
    with pytest.raises(CallFailed, match="systemctl cannot be run"):
        reload_units()


def test_a_folder_shows_whether_systemd_runs(tmp_path: Path) -> None:
    assert systemd_runs(tmp_path)
    assert not systemd_runs(tmp_path / "system")


def test_the_jobs_of_units_have_number_and_type(program: Path) -> None:
    lines = [
        "12 x.service restart running",
        " 7  y.service stop waiting",
        "9 z.service start running",
    ]
    write(program, f'echo "$*" >&2; printf "%s\\n" {" ".join(repr(line) for line in lines)}')
    assert list_jobs("x.service", "y.service", "w.service") == {
        "x.service": Job(12, "restart"),
        "y.service": Job(7, "stop"),
    }


def test_no_job_at_all(program: Path) -> None:
    write(program, "exit 0")
    assert list_jobs("x.service") == {}


def test_systemd_is_not_asked_for_long(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemctl, "ANSWER_TIMEOUT", 0.05)
    write(program, "exec /bin/sleep 60")
    with pytest.raises(CallTimedOut, match=r"list-jobs .*did not return within 0\.05 s"):
        list_jobs("x.service")
