"""The commands as the unit runs them, with a systemd that has the jobs it is told to have."""

from __future__ import annotations

import json
import os
import signal
import socket
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lamplighter.host.systemd.units import SERVICE
from tests.shell import Shell, outcomes

if TYPE_CHECKING:
    import subprocess
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
NAMES = ["db", "mail", "web"]


class Unit(Shell):
    """Types what the unit has, as systemd does it."""

    def __init__(self, folder: Path, manager: socket.socket) -> None:
        super().__init__(folder)
        self._manager = manager
        self._program = folder / "bin" / "systemctl"
        self._program.parent.mkdir()
        self.environment["PATH"] = f"{self._program.parent}:{os.environ['PATH']}"
        self.environment["NOTIFY_SOCKET"] = str(folder / "notify")
        self.environment["SERVICE_RESULT"] = "success"
        self.jobs()
        self.invoke()

    def invoke(self) -> None:
        """The unit begins anew."""
        self.environment["INVOCATION_ID"] = uuid.uuid4().hex

    def jobs(self, *jobs: str) -> None:
        self._program.write_text("#!/bin/sh\n" + "".join(f"echo '{job}'\n" for job in jobs))
        self._program.chmod(0o755)

    def job(self, number: int, kind: str) -> None:
        self.jobs(f"{number} {SERVICE} {kind} running")

    def restart(self) -> list[subprocess.CompletedProcess[str]]:
        """The three commands of a restart, in the order in which systemd runs them."""
        self.job(41, "restart")
        ended = [self.type("down"), self.type("down", "--after-stop")]
        self.job(41, "start")
        self.invoke()
        return [*ended, self.type("up")]

    def domids(self) -> dict[str, int | None]:
        told = json.loads(self.type("--json", "status").stdout)
        return {row["name"]: row["domid"] for row in told["domains"]}

    def last_status(self) -> str:
        """The newest status text that systemd was told."""
        texts = [""]
        self._manager.settimeout(0)
        while True:
            try:
                lines = self._manager.recv(1 << 16).decode().splitlines()
            except BlockingIOError:
                return texts[-1]
            texts += [line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")]


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    tmp_path.chmod(0o755)
    (tmp_path / "domains").mkdir(mode=0o755)
    for name in NAMES:
        path = tmp_path / "domains" / f"{name}.cfg"
        path.write_text(f'name = "{name}"\n{DEFINITION}')
        path.chmod(0o644)
    (tmp_path / "lamplighter.toml").write_text(CONFIGURATION)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        unit = Unit(tmp_path, manager)
        started = unit.type("host", "start", str(tmp_path), "--speed", "20")
        assert started.returncode == 0, started.stderr
        yield unit
        unit.type("host", "stop")


def test_a_restart_moves_nothing_and_a_stop_after_it_stops_all(unit: Unit) -> None:
    assert unit.type("up").returncode == 0
    assert Shell(unit.folder).type("down", "mail").returncode == 0
    before = unit.domids()
    assert before["mail"] is None
    assert None not in (before["db"], before["web"])
    for _ in range(2):
        for ended in unit.restart():
            assert ended.returncode == 0, ended.stderr
        assert unit.domids() == before
        assert unit.last_status() == "the unit was restarted, which moved no domain"
    assert len(unit.ask("history")["runs"]) == 2, "a restart is not a run"
    unit.job(50, "stop")
    stopped = unit.ask("down")
    assert outcomes(stopped) == {"db": "clean", "web": "clean"}
    assert unit.last_status() == "stopped, 2 domains: 2 clean"
    after = unit.ask("down", "--after-stop")
    assert (after["run"], after["why"]) == (None, "the unit's stop has been carried out")
    assert unit.last_status() == "", "the status text stays that of the stop"
    unit.job(51, "start")
    unit.invoke()
    assert set(outcomes(unit.ask("up")).values()) == {"started"}


@pytest.mark.parametrize("kind", ["stop", "restart"])
def test_what_comes_while_the_unit_starts(unit: Unit, kind: str) -> None:
    unit.type("host", "fault", "create", "slow", "--seconds", "100")
    start = unit.begin("up")
    unit.job(60, kind)
    start.send_signal(signal.SIGTERM)
    _, err = start.communicate(timeout=30)
    assert start.returncode == 128 + signal.SIGTERM, err
    first = {name: domid for name, domid in unit.domids().items() if domid is not None}
    assert set(first) == {"db"}
    after = unit.type("down", "--after-stop")
    assert after.returncode == 0, after.stderr
    if kind == "stop":
        assert set(unit.domids().values()) == {None}
        return
    assert unit.domids()["db"] == first["db"]
    unit.job(60, "start")
    unit.invoke()
    assert unit.type("up").returncode == 0
    assert None not in unit.domids().values()
    assert unit.domids()["db"] == first["db"]


def test_only_systemd_stops_after_a_stop(unit: Unit) -> None:
    for shell, words in ((Shell(unit.folder), ()), (unit, ("web",))):
        ended = shell.type("down", "--after-stop", *words)
        assert ended.returncode == 2
        assert "--after-stop is only for the unit" in ended.stderr


def test_a_mistake_in_the_configuration_costs_no_domain_its_clean_shutdown(unit: Unit) -> None:
    assert unit.type("up").returncode == 0
    (unit.folder / "lamplighter.toml").write_text(
        CONFIGURATION + '[domain.web]\nstop = "leave"\n[domain.db]\nstpo = "leave"\n'
    )
    by_hand = Shell(unit.folder).type("down")
    assert by_hand.returncode == 78, "somebody who types it can mend the file first"
    unit.job(50, "stop")
    ended = unit.type("--json", "down")
    assert ended.returncode == 78, ended.stderr
    assert "the host stops, and goes by what is sound of its configuration:" in ended.stderr
    assert 'there is no key "stpo" in [domain.db]' in ended.stderr
    document = json.loads(ended.stdout)
    assert outcomes(document) == {"db": "clean", "mail": "clean", "web": "skipped"}
    assert document["exit"] == 78
    (unit.folder / "lamplighter.toml").write_text(CONFIGURATION)
    domids = unit.domids()
    assert (domids["db"], domids["mail"]) == (None, None)
    assert domids["web"] is not None
