"""The commands as the unit runs them, with a systemd that has the jobs it is told to have."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.shell import HOST, LAMPLIGHTER, QUICK, Shell, Unit, open_unit, outcomes, write_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = f"""\
{HOST}parallel_starts = 1

[defaults]
start = "always"
"""

NAMES = ["db", "mail", "web"]


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    write_host(tmp_path, CONFIGURATION, dict.fromkeys(NAMES, QUICK))
    with open_unit(tmp_path) as unit:
        yield unit


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


def test_the_unit_waits_for_a_host_that_cannot_be_reached_and_nobody_else_does(unit: Unit) -> None:
    unit.type("host", "stop")
    assert Shell(unit.folder).type("up").returncode == 69
    start = subprocess.Popen(
        [*LAMPLIGHTER, "--json", "up"],
        env=unit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert start.stderr is not None
    assert any("it is tried again" in line for line in start.stderr)
    unit.boot()
    out, err = start.communicate(timeout=60)
    assert start.returncode == 0, err
    assert set(outcomes(json.loads(out)).values()) == {"started"}


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


def test_a_mistake_in_one_domains_table_costs_that_domain_its_start(unit: Unit) -> None:
    configuration = unit.folder / "lamplighter.toml"
    configuration.write_text(f'{CONFIGURATION}[domain.db]\nstart_timout = "5min"\n')
    by_hand = Shell(unit.folder).type("up")
    assert by_hand.returncode == 78
    assert 'there is no key "start_timout" in [domain.db]' in by_hand.stderr
    assert set(unit.domids().values()) == {None}
    ended = unit.type("--json", "up")
    assert ended.returncode == 78, ended.stderr
    document = json.loads(ended.stdout)
    assert outcomes(document) == {"db": "failed", "mail": "started", "web": "started"}
    assert document["exit"] == 78
    named = Shell(unit.folder).type("--json", "up", "web")
    assert (named.returncode, outcomes(json.loads(named.stdout))) == (0, {"web": "already"})
    configuration.write_text(CONFIGURATION)


def test_a_mistake_in_the_configuration_as_a_whole_starts_nothing(unit: Unit) -> None:
    configuration = unit.folder / "lamplighter.toml"
    configuration.write_text(f'[host]\nstat = "/var/lib/x"\n{CONFIGURATION}')
    ended = unit.type("--json", "up")
    assert (ended.returncode, json.loads(ended.stdout)["exit"]) == (78, 78)
    configuration.write_text(CONFIGURATION)
    assert set(unit.domids().values()) == {None}


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
    assert 'there is no key "stpo" in [domain.db]' in ended.stderr
    document = json.loads(ended.stdout)
    assert outcomes(document) == {"db": "clean", "mail": "clean", "web": "skipped"}
    assert document["exit"] == 78
    (unit.folder / "lamplighter.toml").write_text(CONFIGURATION)
    domids = unit.domids()
    assert (domids["db"], domids["mail"]) == (None, None)
    assert domids["web"] is not None
