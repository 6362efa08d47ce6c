"""``lamplighter host``: the embedded host as a process of its own, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.errors import HostBusy
from lamplighter.host import lock, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEED = "100"


class Shell:
    """Types commands about one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def type(self, *words: str, status: int = 0, named: bool = True) -> str:
        environment = {**os.environ, "NO_COLOR": "1"}
        environment.pop("LAMPLIGHTER_CONFIG", None)
        if named:
            environment["LAMPLIGHTER_CONFIG"] = str(self.folder / "lamplighter.toml")
        ended = subprocess.run(
            [sys.executable, "-m", "lamplighter", *words],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        return ended.stdout if not status else ended.stderr

    def ask(self, *words: str, status: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.type("--json", *words, status=status) or "{}")
        return document


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "host")
    yield shell
    if (shell.folder / "lamplighter.toml").exists():
        shell.type("host", "stop")


def test_start_twice_status_stop_twice(shell: Shell) -> None:
    told = shell.type("host", "start", str(shell.folder), "--speed", SPEED, named=False)
    assert "runs: boot" in told
    assert f"export LAMPLIGHTER_CONFIG={shell.folder}/lamplighter.toml" in told
    first = shell.ask("host", "status")["host"]
    assert (first["speed"], first["domains"]) == (100.0, 0)

    again = shell.ask("host", "start", str(shell.folder), "--speed", SPEED)
    assert again["started"] is False
    assert again["host"]["pid"] == first["pid"]

    shell.type("host", "fault", "busy", "--seconds", "5")
    shell.type("host", "fault", "clear")
    shell.type("host", "fault", "memory", "100")
    assert shell.ask("host", "status")["host"]["free"] == 100
    assert "fail, half, hang, slow" in shell.type("host", "fault", "list", "explode", status=1)

    assert shell.ask("host", "stop")["stopped"] is True
    assert shell.ask("host", "stop")["stopped"] is False
    assert "lamplighter host start" in shell.type("host", "status", status=69)
    assert not (shell.folder / "run/embedded.sock").exists()


def test_a_host_that_is_killed_leaves_nothing_that_hinders_the_next(shell: Shell) -> None:
    started = shell.ask("host", "start", str(shell.folder), "--speed", SPEED)["host"]
    os.kill(started["pid"], signal.SIGKILL)
    assert (shell.folder / "run/embedded.sock").exists()
    shell.type("status", status=69)
    again = shell.ask("host", "start", str(shell.folder), "--speed", SPEED)
    assert again["started"] is True
    assert again["host"]["boot_id"] != started["boot_id"]


def test_a_host_that_cannot_start_says_why(shell: Shell) -> None:
    shell.folder.mkdir()
    (shell.folder / "lamplighter.toml").write_text('[host]\ntoolstack = "xl"\n')
    try:
        told = shell.type("host", "start", str(shell.folder), status=78)
        assert 'toolstack is "xl", expected "embedded"' in told
        assert "speed" in shell.type("host", "start", "--speed", "0", status=2)
        assert "unknown action" in shell.type("host", "explode", status=2)
    finally:
        (shell.folder / "lamplighter.toml").unlink()


def test_who_holds_a_lock_is_known_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "run/lock"
    assert not lock.is_held(path)
    with lock.hold(path):
        assert lock.is_held(path)
        with pytest.raises(HostBusy, match="another process"), lock.hold(path):
            raise AssertionError("it was held already")
    assert not lock.is_held(path)


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert programs.last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nfirst\nlast \xff\n\n")
    assert programs.last_line(log) == "last \ufffd"
