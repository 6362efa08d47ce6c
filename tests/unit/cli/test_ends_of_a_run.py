"""Every way in which a run can end: one exit status, wherever it is asked for.

The shell's, the one in ``--json``, the journal's by ``history`` and ``history --json``, and the one
by which systemd judges the unit, with the status text beside it. Each run is a process with a
systemd behind it, at an embedded host of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.shell import (
    HOST,
    LAMPLIGHTER,
    QUICK,
    Shell,
    Unit,
    configure,
    define,
    open_unit,
    write_host,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONFIGURATION = f"""\
{HOST}call_timeout = "5s"
parallel_starts = 1

[domain.web]
start = "always"

[domain.db]
start = "always"

[domain.hangs]
stop_timeout = "5s"

[domain.slow]
stop_timeout = "2000s"
"""

DEFINITIONS = {
    "web": QUICK,
    "db": QUICK,
    "huge": QUICK.replace("64", "9000000"),
    "hangs": 'memory = 64\nembedded_boot = "1s"\nembedded_guest = "hangs"\n',
    "slow": 'memory = 64\nembedded_boot = "1s"\nembedded_guest = "slow"\n'
    'embedded_shutdown = "1000s"\n',
}


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    write_host(tmp_path, CONFIGURATION, DEFINITIONS)
    with open_unit(tmp_path) as unit:
        yield unit
        configure(tmp_path, CONFIGURATION)


class Ended(NamedTuple):
    """What a command left behind: its exit status, and what it printed."""

    status: int
    out: str


def whole(unit: Unit, *words: str) -> Ended:
    ended = unit.type("--json", *words)
    return Ended(ended.returncode, ended.stdout)


def rest_of(run: subprocess.Popen[str]) -> Ended:
    out, _ = run.communicate(timeout=60)
    return Ended(run.returncode, out)


def up(unit: Unit, *names: str) -> None:
    assert Shell(unit.folder).type("up", *names).returncode == 0


def all_well(unit: Unit) -> Ended:
    return whole(unit, "up")


def all_well_down(unit: Unit) -> Ended:
    up(unit)
    return whole(unit, "down")


def a_domain_failed(unit: Unit) -> Ended:
    return whole(unit, "up", "web", "huge")


def a_domain_was_forced(unit: Unit) -> Ended:
    up(unit, "web", "hangs")
    return whole(unit, "down")


def a_domain_is_unknown(unit: Unit) -> Ended:
    up(unit, "hangs")
    stop = unit.begin("--json", "down")
    unit.type("host", "fault", "list", "fail", "--times", "999")
    return rest_of(stop)


def a_definition_names_no_domain(unit: Unit) -> Ended:
    define(unit.folder, "broken", "memory = 64\n")
    return whole(unit, "up")


def the_configuration_is_wrong_at_the_hosts_stop(unit: Unit) -> Ended:
    up(unit)
    configure(unit.folder, CONFIGURATION + 'stop_timeuot = "5s"\n')
    ended = whole(unit, "down")
    configure(unit.folder, CONFIGURATION)
    return ended


def signalled(number: signal.Signals, *, times: int) -> Callable[[Unit], Ended]:
    def end(unit: Unit) -> Ended:
        up(unit, "slow")
        stop = unit.begin("--json", "down")
        assert stop.stderr is not None
        stop.send_signal(number)
        while "nothing new is begun" not in stop.stderr.readline():
            pass
        if times > 1:
            stop.send_signal(number)
        return rest_of(stop)

    return end


def the_hosts_stop_takes_over(unit: Unit) -> Ended:
    unit.type("host", "fault", "create", "slow", "--seconds", "60", "--times", "2")
    start = Shell(unit.folder).begin("--json", "up")
    assert unit.type("down").returncode == 0
    return rest_of(start)


def the_toolstack_goes_in_the_middle(unit: Unit) -> Ended:
    up(unit, "slow")
    stop = unit.begin("--json", "down", "slow")
    Shell(unit.folder).type("host", "stop")
    stop.send_signal(signal.SIGTERM)
    return rest_of(stop)


class Way(NamedTuple):
    """How a run ends, with which status, and what systemd shows beside it."""

    end: Callable[[Unit], Ended]
    status: int
    shown: str


WAYS = {
    "all went well": Way(all_well, 0, "started, 5 domains: 3 skipped, 2 started"),
    "all went well, down": Way(all_well_down, 0, "stopped, 2 domains: 2 clean"),
    "a domain failed": Way(a_domain_failed, 1, "1 failed (huge)"),
    "a domain was forced": Way(a_domain_was_forced, 1, "1 forced (hangs)"),
    "a domain is unknown": Way(a_domain_is_unknown, 1, "1 unknown (hangs)"),
    "a definition names no domain": Way(a_definition_names_no_domain, 1, "broken definitions: 1"),
    "the configuration is wrong": Way(
        the_configuration_is_wrong_at_the_hosts_stop, 78, "stopped, 2 domains: 2 clean"
    ),
    **{
        f"{number.name}, {times}": Way(
            signalled(number, times=times), 128 + number, f"interrupted by {number.name}: "
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for times in (1, 2)
    },
    "the toolstack went": Way(
        the_toolstack_goes_in_the_middle, 128 + signal.SIGTERM, "interrupted by SIGTERM: "
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_exit_status_wherever_it_is_asked_for(unit: Unit, way: str) -> None:
    end, status, shown = WAYS[way]
    ended = end(unit)
    assert shown in unit.last_status()
    assert_agree(unit, ended, status, newest_run(unit))


def test_a_start_that_the_hosts_stop_ends(unit: Unit) -> None:
    ended = the_hosts_stop_takes_over(unit)
    stopped, started = Shell(unit.folder).ask("history", "--limit", "2")["runs"]
    assert stopped["exit"] == 0
    assert_agree(unit, ended, 128 + signal.SIGTERM, started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_between_the_end_of_a_run_and_its_report_changes_nothing(
    unit: Unit, number: signal.Signals
) -> None:
    """Whoever reads the report takes a while; the record of the run is complete by then."""
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b" " * room)
    with subprocess.Popen(
        [*LAMPLIGHTER, "--json", "up"],
        env=unit.environment,
        stdout=writer,
        stderr=subprocess.DEVNULL,
    ) as start:
        os.close(writer)
        while not (runs := Shell(unit.folder).ask("history")["runs"]) or runs[0]["ended"] is None:
            assert start.poll() is None
        start.send_signal(number)
        with os.fdopen(reader, encoding="utf-8") as report:
            ended = Ended(0, report.read())
    assert_agree(unit, ended._replace(status=start.returncode), 0, newest_run(unit))


def test_a_run_whose_journal_is_lost(unit: Unit) -> None:
    """Its status is that of its domains; the document and systemd say that the record is lost."""
    up(unit, "slow")
    stop = unit.begin("--json", "down")
    shutil.move(unit.folder / "state", unit.folder / "gone")
    stop.send_signal(signal.SIGTERM)
    ended = rest_of(stop)
    document = json.loads(ended.out)
    assert ended.status == document["exit"] == 128 + signal.SIGTERM
    assert "was moved or removed" in document["run"]["record_lost"]
    assert "its record is lost" in unit.last_status()
    assert Shell(unit.folder).ask("history")["runs"] == []


def test_a_configuration_that_is_wrong_by_hand_is_no_run(unit: Unit) -> None:
    configure(unit.folder, CONFIGURATION + 'stop_timeuot = "5s"\n')
    ended = Shell(unit.folder).type("--json", "down")
    assert ended.returncode == json.loads(ended.stdout)["exit"] == 78
    configure(unit.folder, CONFIGURATION)
    assert Shell(unit.folder).ask("history")["runs"] == []


def newest_run(unit: Unit) -> dict[str, Any]:
    run: dict[str, Any]
    (run,) = Shell(unit.folder).ask("history", "--limit", "1")["runs"]
    return run


def assert_agree(unit: Unit, ended: Ended, status: int, recorded: dict[str, Any]) -> None:
    document = json.loads(ended.out)
    assert ended.status == document["exit"] == recorded["exit"] == status
    assert document["run"]["id"] == recorded["id"]
    assert document["run"]["record_lost"] is None
    lines = Shell(unit.folder).type("history").stdout.splitlines()
    (line,) = [one for one in lines if one.startswith(f"run {recorded['id']}  ")]
    assert line.endswith(f", exit {status}")
