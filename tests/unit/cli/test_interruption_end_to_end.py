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

from lamplighter.embedded import CONTROL_SOCKET
from lamplighter.host.clock import LoopClock
from lamplighter.toolstacks.embedded import ControlClient
from tests.shell import HOST, LAMPLIGHTER, QUICK, Shell, outcomes, write_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = f"""\
{HOST}parallel_starts = 1

[defaults]
start = "always"
"""

NAMES = [f"web-{number}" for number in range(4)]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    write_host(tmp_path, CONFIGURATION, dict.fromkeys(NAMES, QUICK))
    shell = Shell(tmp_path)
    shell.boot()
    yield shell
    shell.type("host", "stop")


@contextmanager
def systemd(shell: Shell) -> Iterator[Shell]:
    """Type as systemd does: there is somebody who wants to hear the state, and who has no jobs."""
    program = shell.folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    address = str(shell.folder / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(address)
        typed = Shell(shell.folder)
        typed.environment["NOTIFY_SOCKET"] = address
        typed.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
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


def set_default(shell: Shell, line: str) -> None:
    path = shell.folder / "lamplighter.toml"
    path.write_text(f"{path.read_text()}{line}\n")


def take_time_to_go(shell: Shell, duration: str) -> None:
    for name in NAMES:
        path = shell.folder / "domains" / f"{name}.cfg"
        path.write_text(path.read_text().replace('shutdown = "1s"', f'shutdown = "{duration}"'))


def come_up_and_be_slow_to_go(shell: Shell) -> None:
    take_time_to_go(shell, "1000s")
    set_default(shell, 'stop_timeout = "2000s"')
    assert shell.type("up").returncode == 0


def last_run(shell: Shell) -> dict[str, str]:
    """How each domain ended in the last run, which is over."""
    (run,) = shell.ask("history", "--limit", "1")["runs"]
    assert run["ended"] is not None
    return outcomes(run)


def seen(shell: Shell) -> set[str]:
    return {entry["seen"] for entry in shell.ask("status", status=1)["domains"]}


def test_the_host_s_stop_makes_a_start_let_go_and_ends_what_is_being_created(shell: Shell) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "40", "--times", "4")
    start = shell.begin("up")
    with systemd(shell) as manager:
        stop = manager.type("down")
    out, err = start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGTERM, err
    assert f"the host stops: up (pid {start.pid}, " in stop.stderr
    assert "lamplighter up continues with them" in err
    assert stop.returncode == 0, stop.stderr
    # What was being created was created to its end, and then shut down like any other.
    stopped, started = shell.ask("history", "--limit", "2")["runs"]
    came = {name for name, outcome in outcomes(started).items() if outcome == "started"}
    left = sorted(name for name, outcome in outcomes(started).items() if outcome == "skipped")
    assert came
    assert sorted([*came, *left]) == NAMES
    assert f"left undone, of 4 domains: {', '.join(left)}" in err
    assert outcomes(stopped) == dict.fromkeys(came, "clean")
    assert seen(shell) == {"absent"}, out


def test_what_a_killed_start_was_creating_is_stopped_too(shell: Shell) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "100")
    start = shell.begin("up")
    wait_for_a_creation(shell)
    start.kill()
    start.communicate(timeout=30)
    with systemd(shell) as manager:
        stop = manager.ask("down")
    assert outcomes(stop) == {"web-0": "clean"}
    assert seen(shell) == {"absent"}


@pytest.mark.parametrize(("command", "call"), [("up", "create"), ("down", "destroy")])
def test_any_number_of_signals_ends_a_run_in_order(shell: Shell, command: str, call: str) -> None:
    if command == "down":
        assert shell.type("up").returncode == 0
        set_default(shell, 'stop = "destroy"')
    shell.type("host", "fault", call, "hang", "--times", "4")
    run = shell.begin(command)
    for _ in range(600):
        if not still_running(run):
            break
        run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGINT, err
    assert "Traceback" not in err
    assert "left undone, of 4 domains: web-0, web-1, web-2, web-3" in err
    assert f"lamplighter {command} continues with them; lamplighter status shows" in err
    assert last_run(shell)["web-0"] == "unknown"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_reported_with_what_is_left_and_how_to_go_on(
    shell: Shell, number: signal.Signals
) -> None:
    come_up_and_be_slow_to_go(shell)
    run = shell.begin("down", "web-1", "web-2")
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 128 + number, err
    assert f"interrupted by {number.name}: left undone, of 2 domains: web-1, web-2\n" in err
    assert "  lamplighter down web-1 web-2 continues with them" in err
    assert "2 unknown. 2 need attention" in out
    assert last_run(shell) == {"web-1": "unknown", "web-2": "unknown"}


@contextmanager
def on_a_terminal(
    shell: Shell, *words: str, term: str = "dumb", hears_hangup: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Type a command on a terminal, and let that go away when the run has begun."""
    runs = len(shell.ask("history")["runs"])
    ours, theirs = pty.openpty()
    nohup = [] if hears_hangup else ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    run = subprocess.Popen(
        ["setsid", "--ctty", *nohup, *LAMPLIGHTER, *words],
        env={**shell.environment, "TERM": term},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.read(ours, 1)  # something is shown
    while len(shell.ask("history")["runs"]) == runs:
        assert still_running(run)
    os.close(ours)
    yield run


@pytest.mark.parametrize("term", ["dumb", "xterm"])
@pytest.mark.parametrize("command", ["up", "down"])
def test_a_terminal_that_goes_away_ends_a_run_in_order(
    shell: Shell, term: str, command: str
) -> None:
    if command == "up":
        shell.type("host", "fault", "create", "slow", "--seconds", "100", "--times", "4")
    else:
        come_up_and_be_slow_to_go(shell)
    with on_a_terminal(shell, command, term=term) as run:
        assert run.wait(timeout=30) != 0
    ends = last_run(shell)
    assert set(ends) == set(NAMES)
    assert "failed" not in ends.values()


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_without_its_terminal_a_run_that_hears_no_hangup_goes_on(shell: Shell, term: str) -> None:
    shell.type("host", "fault", "create", "slow", "--seconds", "40", "--times", "4")
    with on_a_terminal(shell, "up", term=term, hears_hangup=False) as run:
        assert run.wait(timeout=30) in (1, 128 + signal.SIGPIPE), "its answer was not read"
    assert set(last_run(shell).values()) == {"started"}


@pytest.mark.parametrize("words", [("up",), ("--json", "up"), ("-v", "up")])
def test_a_run_that_nobody_reads_any_more_goes_on(shell: Shell, words: tuple[str, ...]) -> None:
    take_time_to_go(shell, "60s")
    shell.type("host", "fault", "create", "slow", "--seconds", "20")
    run = shell.begin(*words)
    for stream in (run.stdout, run.stderr):
        assert stream is not None
        stream.close()
    assert run.wait(timeout=30) == 128 + signal.SIGPIPE
    assert set(last_run(shell).values()) == {"started"}
    stop = shell.begin("down")
    for stream in (stop.stdout, stop.stderr):
        assert stream is not None
        stream.close()
    assert stop.wait(timeout=30) == 128 + signal.SIGPIPE
    assert set(last_run(shell).values()) == {"clean"}
    assert seen(shell) == {"absent"}
