"""What the agent has to do with the init: units, jobs, notifications, and its hook's line."""

from __future__ import annotations

import shutil
import socket
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from lamplighter.errors import UsageError
from lamplighter.guest import init_hook
from lamplighter.guest.clock import LONGEST, milliseconds
from lamplighter.guest.config import Paths
from lamplighter.guest.control_socket import (
    CALLERS_MAX,
    GO_ON,
    HELLO,
    STOPPING,
    ControlSocket,
    call,
    listen,
    open_control_socket,
)
from lamplighter.guest.log import Log
from lamplighter.guest.processes import LAST_CHANCE
from lamplighter.guest.systemd import find_end, notify, systemd_runs
from tests.agent import Notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGENT, HOOK = "lamplighter-agent.service", "lamplighter-agent-shutdown.service"


def unit(name: str) -> str:
    return (files("lamplighter.guest") / "units" / name).read_text(encoding="utf-8")


def test_stopping_the_system_does_not_stop_the_agent() -> None:
    lines = unit(AGENT).splitlines()
    assert "DefaultDependencies=no" in lines
    assert "IgnoreOnIsolate=yes" in lines
    assert "KillMode=process" in lines
    assert not any(line.startswith("Conflicts=") for line in lines)


def test_the_scripts_run_before_anything_is_stopped() -> None:
    lines = unit(HOOK).splitlines()
    assert "After=multi-user.target lamplighter-agent.service" in lines
    assert "TimeoutStopSec=30min" in lines  # not the default's 90 s, and not for ever
    assert "DefaultDependencies=no" not in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name in (AGENT, HOOK):
        text = "\n".join(
            line for line in unit(name).splitlines() if not line.startswith("Documentation=")
        )
        (tmp_path / name).write_text(text.replace("/usr/bin/env python3", "/usr/bin/env true"))
    verify = ["systemd-analyze", "verify", tmp_path / AGENT, tmp_path / HOOK]
    told = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in told.stderr.splitlines() if "lamplighter" in line]
    assert ours == []


@pytest.mark.parametrize(
    ("jobs", "end"),
    [
        ("", None),
        ("1 lamplighter-agent-shutdown.service stop running\n", None),
        ("12 poweroff.target start waiting\n13 a.service stop running\n", "poweroff"),
        (" 9 x.service stop running\n 7 reboot.target start waiting", "reboot"),
        ("7 kexec.target start waiting", "reboot"),
        ("7 halt.target start waiting", "halt"),
        ("7 soft-reboot.target start waiting", None),
        ("7 poweroff.target stop waiting", None),
        ("7 rescue.target start waiting\n8 xpoweroff.target start waiting", None),
    ],
)
def test_where_the_system_goes_by_its_jobs(jobs: str, end: str | None) -> None:
    assert find_end(jobs) == end


@pytest.mark.parametrize("name", ["path", "@abstract"])
def test_systemd_is_notified(tmp_path: Path, name: str) -> None:
    address = f"@{tmp_path.name}" if name.startswith("@") else str(tmp_path / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        receiver.settimeout(20)
        notify({"NOTIFY_SOCKET": address}, ready=True)
        assert receiver.recv(100) == b"READY=1"
        notify({"NOTIFY_SOCKET": address}, status="ready")
        assert receiver.recv(100) == b"STATUS=ready"
    notify({"NOTIFY_SOCKET": str(tmp_path / "none")}, ready=True)
    notify({}, ready=True)
    assert systemd_runs(str(tmp_path))
    assert not systemd_runs(str(tmp_path / "none"))


# --- the control socket ------------------------------------------------------------------------


@pytest.fixture
def control_socket(tmp_path: Path) -> Iterator[ControlSocket]:
    with listen(str(tmp_path / "socket")) as listener:
        control_socket = ControlSocket(listener, "1.2.3")
        yield control_socket
        for caller in control_socket._calls.values():
            caller.close()


def dial(path: Path, line: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(str(path / "socket"))
    connection.sendall(line)
    return connection


def hear(control_socket: ControlSocket) -> list[str]:
    """Take in what is there: a caller, and what he says."""
    listener = control_socket._listener.fileno()
    control_socket.receive(listener)
    heard = [control_socket.receive(descriptor) for descriptor in list(control_socket._calls)]
    return [request for request in heard if request is not None]


def test_who_says_that_the_system_goes_waits_until_he_is_released(
    control_socket: ControlSocket, tmp_path: Path
) -> None:
    with (
        dial(tmp_path, b"stopping reboot\n") as first,
        dial(tmp_path, b"stopping halt\n") as second,
    ):
        assert hear(control_socket) == ["reboot"]
        assert hear(control_socket) == ["halt"]
        first.settimeout(0)
        with pytest.raises(BlockingIOError):
            first.recv(10)
        control_socket.release()
        assert first.recv(10) == second.recv(10) == f"{GO_ON}\n".encode()
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"stopping sleep\n", b"\xff\n", b"x" * 1000, b"stopping\n"])
def test_who_says_anything_else_is_cut_off(
    control_socket: ControlSocket, tmp_path: Path, line: bytes
) -> None:
    with dial(tmp_path, line) as caller:
        assert hear(control_socket) == []
        assert control_socket._calls == {}
        try:
            assert caller.recv(10) == b""
        except ConnectionResetError:  # not all that he said was read
            assert len(line) > 100


def test_who_hangs_up_is_forgotten(control_socket: ControlSocket, tmp_path: Path) -> None:
    with dial(tmp_path, b"stopping halt\n"):
        hear(control_socket)
    assert hear_again(control_socket) == []
    assert control_socket._calls == {}
    control_socket.release()


def hear_again(control_socket: ControlSocket) -> list[str | None]:
    heard = [control_socket.receive(descriptor) for descriptor in list(control_socket._calls)]
    return [request for request in heard if request is not None]


def test_so_many_callers_and_no_more(control_socket: ControlSocket, tmp_path: Path) -> None:
    callers = [dial(tmp_path, b"stopping halt\n") for _ in range(CALLERS_MAX + 1)]
    for _ in callers:
        control_socket.receive(control_socket._listener.fileno())
    assert len(control_socket._calls) == CALLERS_MAX
    assert len(list(control_socket.descriptors())) == CALLERS_MAX + 1
    for caller in callers:
        caller.close()


def test_a_second_daemon_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(path)
    left.close()
    assert call(path, HELLO, patience=1.0) is None
    with listen(path):
        assert call(path, HELLO, patience=0.05) is None  # it hangs


def test_an_agent_that_cannot_make_its_socket_does_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Notes()
    control_socket = open_control_socket(str(tmp_path / "file" / "run" / "socket"), "1.2.3", notes)
    assert list(control_socket.descriptors()) == []
    control_socket.release()
    assert notes.lines == [
        f"{tmp_path}/file/run/socket: Not a directory; the scripts are left to init's hook"
    ]


QUIET = Log(marked=False, descriptor=-1)


def with_systemd(monkeypatch: pytest.MonkeyPatch, *list_jobs: str) -> None:
    monkeypatch.setattr(init_hook, "systemd_runs", lambda: True)
    monkeypatch.setattr(init_hook, "LIST_JOBS", list_jobs)


def test_a_hook_that_cannot_ask_where_the_system_goes_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Paths(etc=str(tmp_path), run=str(tmp_path))
    with_systemd(monkeypatch, str(tmp_path / "none"))
    assert init_hook.stopping(places, None, QUIET) == 1
    with_systemd(monkeypatch, "false")
    assert init_hook.stopping(places, None, QUIET) == 1
    with_systemd(monkeypatch, "echo", "1 a.service stop running")
    assert init_hook.stopping(places, None, QUIET) == 0


def test_a_program_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_hook, "TIMEOUT", 0.2)
    assert init_hook._output(("sh", "-c", "trap '' TERM; sleep 1000; sleep 1000"), QUIET) is None


def test_the_hook_tells_the_daemon_what_systemd_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with_systemd(monkeypatch, "echo", "1 kexec.target start waiting")
    monkeypatch.setattr(init_hook, "call", lambda _path, line, _: said.append(line) or GO_ON)
    places = Paths(run=str(tmp_path))
    assert init_hook.stopping(places, None, QUIET) == 0
    assert said == [HELLO, f"{STOPPING} reboot"]


def test_where_systemd_runs_the_argument_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(init_hook, "call", lambda _path, line, _: said.append(line) or GO_ON)
    with_systemd(monkeypatch, "echo", "1 a.service stop running")
    assert init_hook.stopping(Paths(), "poweroff", QUIET) == 0
    assert said == []
    with_systemd(monkeypatch, "echo", "1 reboot.target start waiting")
    assert init_hook.stopping(Paths(), "poweroff", QUIET) == 0
    assert said == [HELLO, f"{STOPPING} reboot"]


def test_where_systemd_does_not_run_an_argument_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_hook, "systemd_runs", lambda: False)
    monkeypatch.setattr(init_hook, "LIST_JOBS", ("false",))
    with pytest.raises(UsageError, match="systemd does not run here"):
        init_hook.stopping(Paths(), None, QUIET)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An agent with one script of 100 s, and a hook that is told "poweroff" and never pauses."""
    (tmp_path / "shutdown.d").mkdir()
    script = tmp_path / "shutdown.d" / "10-a"
    script.write_text(f"#!/bin/sh\n# lamplighter-deadline: 100s\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    monkeypatch.setattr(init_hook, "systemd_runs", lambda: False)
    monkeypatch.setattr(init_hook, "PAUSE", 0.0)
    return Paths(etc=str(tmp_path), run=str(tmp_path))


def test_a_daemon_that_hangs_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: Paths
) -> None:
    monkeypatch.setattr(init_hook, "ANSWERS", 0.02)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(trial.control_socket)
        deaf.listen(0)  # nobody accepts
        assert init_hook.stopping(trial, "poweroff", QUIET) == 0
    assert (tmp_path / "ran").exists()


def test_a_daemon_whose_scripts_never_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: Paths
) -> None:
    clock, patience = [1000.0], []

    def call(_path: str, line: str, seconds: float) -> str | None:
        if line == HELLO:
            return "1.2.3"
        patience.append(seconds)
        clock[0] += seconds
        return None

    monkeypatch.setattr(init_hook, "now", lambda: clock[0])
    monkeypatch.setattr(init_hook, "call", call)
    notes = Notes()
    assert init_hook.stopping(trial, "poweroff", notes) == 0
    assert patience == [100.0 + LAST_CHANCE + init_hook.MORE]
    assert notes.lines == ["its scripts have not ended after 135 s: the system goes on"]
    assert not (tmp_path / "ran").exists()


def test_a_script_that_cannot_be_killed_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, trial: Paths
) -> None:
    moments = iter(range(0, 10_000, 10))
    monkeypatch.setattr(init_hook, "now", lambda: float(next(moments)))
    monkeypatch.setattr(init_hook.Children, "reap", lambda _: [])  # as if it hung in a disk
    monkeypatch.setattr(init_hook, "poll", Mock)
    notes = Notes()
    assert init_hook.run_scripts(trial, "poweroff", notes) == 1
    assert notes.lines == ["10-a: it is still there after SIGKILL, and is not waited for"]
    assert next(moments) < 200


def test_a_time_out_never_ends_early_and_may_be_none() -> None:
    assert milliseconds(float("inf")) is None
    assert milliseconds(0.0101) == 11
    assert milliseconds(-5.0) == milliseconds(float("-inf")) == 0
    assert milliseconds(1e9) == LONGEST * 1000


def test_the_hook_waits_for_the_script_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that could not even be killed may end while the next one runs."""
    children, scripts = Mock(), Mock()
    children.reap.side_effect = [[(11, -9)], [], [], [(12, 0)]]
    scripts.ended.side_effect = [("10-stuck", "killed"), ("30-next", "")]
    scripts.gone.side_effect = [[("20-adopted", "unseen")], [], []]
    monkeypatch.setattr(init_hook, "poll", Mock())
    assert init_hook._wait(children, scripts, "30-next", 60.0) == ""
