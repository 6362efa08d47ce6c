"""``lamplighter monitor`` as a process beside the other commands, none of which needs it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import XenStore
from tests.shell import HOST, LAMPLIGHTER, Shell, write_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = f"""\
{HOST}
[defaults]
start = "last-state"
"""

DEFINITION = """\
memory = 64
embedded_boot = "0.1s"
embedded_shutdown = "0.1s"
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    write_host(tmp_path, CONFIGURATION, dict.fromkeys(("db", "web"), DEFINITION), uuids=True)
    shell = Shell(tmp_path)
    assert shell.type("host", "start").returncode == 0
    try:
        yield shell
    finally:
        shell.type("host", "stop")


@contextmanager
def monitor(shell: Shell, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A monitor that watches."""
    process = subprocess.Popen(
        [*LAMPLIGHTER, *words, "monitor"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while (shell.ask("status")["monitor"] or {}).get("looked") is None:
            assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], *words: str) -> None:
    """Read what the monitor tells until it has told of all of these."""
    assert process.stderr is not None
    left = set(words)
    while left:
        line = process.stderr.readline()
        assert line, f"it ended without a word of {left}"
        left -= {word for word in left if word in line}


def test_it_serves_status_and_history_what_it_saw(shell: Shell) -> None:
    assert shell.ask("status")["monitor"] is None
    with monitor(shell) as watching:
        shell.ask("up", "web")
        until(watching, "web (domid 1) came: lamplighter up created it")
        shell.ask("down", "web")
        until(watching, "web (domid 1) went: it powered off: lamplighter down asked it to")
        status = shell.ask("status")
        assert status["monitor"]["trouble"] == ""
        web = next(entry for entry in status["domains"] if entry["name"] == "web")
        assert web["seen"] == "absent"
        assert "The monitor has been watching since" in shell.type("status").stdout
    assert "No monitor is running" in shell.type("status").stdout

    domain_events = shell.ask("history", "web")["passages"]
    assert [(one["way"], one["by"]) for one in domain_events] == [
        ("went", "lamplighter"),
        ("came", "lamplighter"),
    ]
    assert domain_events[0]["at"] == web["since"]
    text = shell.type("history", "web").stdout
    assert "Domain events that the monitor recorded, the newest first:" in text
    assert "web went as domid 1: it powered off: lamplighter down asked it to" in text
    assert shell.ask("history")["passages"] == []
    assert shell.ask("history", "db")["passages"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_it_shows_what_it_knows(shell: Shell, number: signal.Signals) -> None:
    with monitor(shell, "--json") as watching:
        shell.ask("up", "web")
        until(watching, "web (domid 1) came")
        watching.send_signal(number)
        out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0, err
    document = json.loads(out)
    assert [one["name"] for one in document["passages"]] == ["web"]
    assert not (shell.folder / "run" / "monitor.sock").exists()


def test_a_second_one_fails_because_there_is_one(shell: Shell) -> None:
    with monitor(shell):
        ended = shell.type("monitor")
        assert ended.returncode == 75
        assert "another process watches this host" in ended.stderr
    assert shell.folder.joinpath("run/monitor.sock").exists()  # it was killed
    assert shell.ask("status")["monitor"] is None
    with monitor(shell):
        pass


def test_without_a_host_it_ends(shell: Shell) -> None:
    shell.type("host", "stop")
    ended = shell.type("monitor")
    assert ended.returncode == 69


def test_what_it_saw_of_a_guest_s_own_end_is_meant_beyond_the_host_s_boot(shell: Shell) -> None:
    with monitor(shell) as watching:
        shell.ask("up", "web", "db")
        until(watching, "web (domid", "db (domid")
        # Another tool asks one of them to power off, and then the power is cut.
        socket = shell.folder / "run" / "xenstored.sock"
        domid = next(
            entry["domid"] for entry in shell.ask("status")["domains"] if entry["name"] == "web"
        )
        poke(socket, f"/local/domain/{domid}/control/shutdown", b"poweroff")
        until(watching, "web (domid " + str(domid) + ") went: it powered off: another tool asked")
    shell.type("host", "stop")
    assert shell.type("host", "start").returncode == 0
    up = shell.ask("up")
    assert {entry["name"]: entry["outcome"] for entry in up["domains"]} == {
        "db": "started",
        "web": "skipped",
    }
    web = next(entry for entry in shell.ask("status")["domains"] if entry["name"] == "web")
    assert web["wanted"] == "down"
    assert "it went: it powered off: another tool asked it to power off" in web["why"]


def poke(socket: Path, path: str, value: bytes) -> None:
    """Write a node, as another tool does."""

    async def write() -> None:
        store = await XenStore.connect(str(socket), LoopClock())
        await store.write(path, value)
        await store.close()

    asyncio.run(write())
