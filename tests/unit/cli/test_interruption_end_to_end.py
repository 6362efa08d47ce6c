"""Runs that are told to end, by a person, a terminal that goes away, or the host's stop."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
import subprocess
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.sockets import CONTROL_SOCKET
from lamplighter.host.clock import LoopClock
from lamplighter.toolstacks.control_client import ControlClient
from tests.shell import LAMPLIGHTER, Shell, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = """\
[host]
toolstack = "embedded"
definitions = ["domains/*.cfg"]
state = "state"
run = "run"
parallel_starts = 1

[defaults]
start = "always"
"""

DEFINITION = 'memory = 64\nembedded_boot = "1s"\nembedded_shutdown = "1s"\n'
NAMES = [f"web-{number}" for number in range(4)]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    tmp_path.chmod(0o755)
    (tmp_path / "domains").mkdir(mode=0o755)
    for name in NAMES:
        path = tmp_path / "domains" / f"{name}.cfg"
        path.write_text(f'name = "{name}"\n{DEFINITION}')
        path.chmod(0o644)
    (tmp_path / "lamplighter.toml").write_text(CONFIGURATION)
    shell = Shell(tmp_path)
    started = shell.type("host", "start", str(tmp_path), "--speed", "20")
    assert started.returncode == 0, started.stderr
    yield shell
    shell.type("host", "stop")


@contextmanager
def systemd(shell: Shell) -> Iterator[Shell]:
    """Type as systemd does: there is somebody who wants to hear the state."""
    address = str(shell.folder / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(address)
        typed = Shell(shell.folder)
        typed.environment["NOTIFY_SOCKET"] = address
        yield typed


def wait_for_a_creation(shell: Shell) -> None:
    async def look() -> None:
        clock = LoopClock()
        host = ControlClient(shell.folder / "run" / CONTROL_SOCKET, clock, 30.0)
        async with clock.timeout(30):
            while not (await host.call("creating"))["paths"]:
                await clock.sleep(0.02)

    asyncio.run(look())


def still_running(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> bool:
    """Wait for a moment and say whether it runs still."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.05)
    return process.poll() is None


def seen(shell: Shell) -> set[str]:
    return {entry["seen"] for entry in shell.ask("status", status=1)["domains"]}


def test_the_host_s_stop_makes_a_start_let_go_and_ends_what_is_being_created(shell: Shell) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "20")
    start = shell.begin("up")
    with systemd(shell) as manager:
        stop = manager.type("down")
    out, err = start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGTERM, err
    assert f"the host stops: up (pid {start.pid}, " in stop.stderr
    assert "left undone, of 4 domains: web-1, web-2, web-3" in err
    assert "lamplighter up goes on with them" in err
    assert stop.returncode == 0, stop.stderr
    # What was being created was created to its end, and then shut down like any other.
    stopped, started = shell.ask("history", "--limit", "2")["runs"]
    assert outcomes(stopped) == {"web-0": "clean"}
    assert outcomes(started) == {
        "web-0": "started",
        "web-1": "skipped",
        "web-2": "skipped",
        "web-3": "skipped",
    }
    assert seen(shell) == {"absent"}, out


def test_what_a_killed_start_was_creating_is_stopped_too(shell: Shell) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "20")
    start = shell.begin("up")
    wait_for_a_creation(shell)
    start.kill()
    start.communicate(timeout=30)
    with systemd(shell) as manager:
        stop = manager.ask("down")
    assert outcomes(stop) == {"web-0": "clean"}
    assert seen(shell) == {"absent"}


def test_any_number_of_signals_ends_a_run_in_order(shell: Shell) -> None:
    shell.type("host", "fault", "create", "hang")
    start = shell.begin("up")
    while still_running(start):
        start.send_signal(signal.SIGINT)
    _, err = start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGINT, err
    assert "Traceback" not in err
    assert "left undone, of 4 domains: web-0, web-1, web-2, web-3" in err
    (run,) = shell.ask("history", "--limit", "1")["runs"]
    assert run["ended"] is not None
    assert outcomes(run)["web-0"] == "unknown"


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_terminal_that_goes_away_ends_a_run_in_order(shell: Shell, term: str) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "20")
    ours, theirs = pty.openpty()
    start = subprocess.Popen(
        ["setsid", "--ctty", *LAMPLIGHTER, "up"],
        env={**shell.environment, "TERM": term},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.read(ours, 1)  # something is shown: the run has begun
    while not shell.ask("history", "--limit", "1")["runs"]:
        assert still_running(start)
    os.close(ours)
    assert start.wait(timeout=30) != 0
    (run,) = shell.ask("history", "--limit", "1")["runs"]
    assert run["ended"] is not None
    assert set(outcomes(run)) == set(NAMES)
    assert "failed" not in outcomes(run).values()
