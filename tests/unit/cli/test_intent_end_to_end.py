"""What is said of a domain outlives the host's boots, and runs that are killed are recovered."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.shell import HOST, QUICK, Shell, outcomes, write_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = f"""\
{HOST}
[defaults]
start = "last-state"

[domain.always]
start = "always"

[domain.broken]
start = "never"
"""

DEFINITIONS = {
    "always": QUICK,
    "last": QUICK,
    "broken": "memory = 9000000\n",
    "slow": QUICK.replace('shutdown = "1s"', 'shutdown = "60s"') + 'embedded_guest = "slow"\n',
}


class Machine(Shell):
    """A host that is asked for its domains."""

    def ask_any(self, *words: str) -> list[dict[str, Any]]:
        """Ask without minding whether all is as wanted."""
        rows: list[dict[str, Any]] = json.loads(self.type("--json", *words).stdout)["domains"]
        return rows

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.ask_any("status") if row["name"] == name)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    write_host(tmp_path, CONFIGURATION, DEFINITIONS, uuids=True)
    machine = Machine(tmp_path)
    machine.boot()
    yield machine
    machine.type("host", "stop")


def test_last_state_is_what_was_last_meant_and_not_what_the_power_left(machine: Machine) -> None:
    assert outcomes(machine.ask("up"))["last"] == "skipped", "it has never been up"
    machine.ask("up", "last")
    machine.boot()
    assert outcomes(machine.ask("up"))["last"] == "started", "a power cut is no one's wish"
    machine.ask("down")
    machine.boot()
    assert outcomes(machine.ask("up"))["last"] == "started", "the host's stop is not either"
    machine.ask("down", "last")
    machine.boot()
    assert outcomes(machine.ask("up"))["last"] == "skipped"
    assert "meant to be down since" in machine.row("last")["why"]
    assert "lamplighter down last" in machine.row("last")["why"]


def test_a_held_domain_stays_down_across_boots_until_it_is_released(machine: Machine) -> None:
    held = machine.ask("hold", "always", "--reason", "disk  3 is\nbroken")
    assert held["held"]["reason"] == "disk 3 is broken"
    machine.boot()
    assert outcomes(machine.ask("up"))["always"] == "held"
    assert outcomes(machine.ask("up", "always", status=1))["always"] == "held"
    told = machine.type("up", "always").stdout
    assert "disk 3 is broken" in told
    assert "lamplighter release always" in told
    row = machine.row("always")
    assert (row["wanted"], row["seen"]) == ("held", "absent")
    assert "disk 3 is broken" in row["why"]
    (step,) = machine.ask("plan", "up", "always")["steps"]
    assert (step["outcome"], "disk 3 is broken" in step["reason"]) == ("held", True)

    assert "disk 3 is broken" in machine.type("release", "always").stdout
    assert outcomes(machine.ask("up", "always"))["always"] == "started"
    assert "was not held" in machine.type("release", "always").stdout
    history = machine.ask("history", "always")["holds"]
    assert [past["released"] is not None for past in history] == [True]


def test_a_domain_whose_definition_states_no_uuid_is_held_by_the_uuid_of_today_too(
    machine: Machine,
) -> None:
    (machine.folder / "domains" / "always.cfg").write_text(f'name = "always"\n{QUICK}')
    machine.ask("up")
    row = machine.row("always")
    machine.ask("hold", row["uuid"], "--reason", "disk 3 is broken")
    machine.boot()
    assert outcomes(machine.ask("up"))["always"] == "held"
    assert "disk 3 is broken" in machine.type("release", "always").stdout
    assert outcomes(machine.ask("up"))["always"] == "started"

    # As an earlier version recorded it.
    machine.ask("hold", "always", "--reason", "disk 4 is broken")
    file = machine.folder / "state" / "intent.json"
    file.write_text(file.read_text().replace('"domain": "always"', f'"domain": "{row["uuid"]}"'))
    machine.boot()
    assert outcomes(machine.ask("up"))["always"] == "held"
    assert "disk 4 is broken" in machine.type("release", "always").stdout
    assert outcomes(machine.ask("up"))["always"] == "started"


def test_hold_now_stops_what_runs_and_hold_alone_does_not(machine: Machine) -> None:
    machine.ask("up")
    machine.ask("hold", "always", "--reason", "later")
    assert machine.row("always")["seen"] == "running"
    assert "although it is held" in machine.row("always")["why"]
    assert outcomes(machine.ask("hold", "always", "--reason", "now", "--now")) == {
        "always": "clean"
    }
    assert machine.row("always")["seen"] == "absent"


@pytest.mark.parametrize(
    "words",
    [
        ("hold", "nobody", "--reason", "x"),
        ("hold", "always", "--reason", "  "),
        ("hold", "always"),
        ("release", "nobody"),
    ],
)
def test_a_hold_of_nobody_or_without_a_reason_is_refused(
    machine: Machine, words: tuple[str, ...]
) -> None:
    assert machine.type(*words).returncode == 2
    assert machine.ask("history")["holds"] == []


def test_a_domain_that_fails_to_start_again_and_again_is_held_and_the_others_go_on(
    machine: Machine,
) -> None:
    for _ in range(2):
        assert outcomes(machine.ask("up", "broken", "always", status=1))["broken"] == "failed"
    third = machine.type("up", "broken", "always")
    assert third.returncode == 1
    assert "broken is held from now on: its start failed 3 times" in third.stderr
    assert "lamplighter release broken" in third.stderr
    assert machine.row("broken")["wanted"] == "held"
    assert "9000000" in machine.row("broken")["why"]
    assert outcomes(machine.ask("up", "broken", "always", status=1)) == {
        "always": "already",
        "broken": "held",
    }
    machine.ask("release", "broken")
    assert outcomes(machine.ask("up", "broken", status=1)) == {"broken": "failed"}
    assert machine.row("broken")["wanted"] == "down", "it is counted anew"


def test_a_domain_defined_again_with_another_uuid_inherits_nothing(machine: Machine) -> None:
    machine.ask("up", "last")
    machine.ask("hold", "always", "--reason", "x")
    machine.ask("down")
    for name in ("last", "always"):
        path = machine.folder / "domains" / f"{name}.cfg"
        path.write_text(path.read_text().replace("4000-8000", "4000-8001"))
    machine.boot()
    ends = outcomes(machine.ask("up"))
    assert (ends["last"], ends["always"]) == ("skipped", "started")


def test_a_stop_that_was_killed_is_completed_by_the_next_one(machine: Machine) -> None:
    machine.ask("up", "slow", "always")
    before = {row["name"]: row["domid"] for row in machine.ask_any("status")}
    stop = machine.begin("down")
    assert stop.stderr is not None
    while "slow" not in (line := stop.stderr.readline()) or "acknowledged" not in line:
        assert line, "it ended before it was killed"
    stop.send_signal(signal.SIGKILL)
    stop.communicate()
    again = machine.type("--json", "down")
    assert again.returncode == 0, again.stderr
    assert "did not end; it was moving" in again.stderr
    newest, dead = machine.ask("history", "--limit", "2", "--transitions")["runs"]
    assert dead["exit"] is None
    assert dead["ended"] is not None
    assert {one["name"] for one in dead["domains"]} == {"slow", "always"}
    (slow,) = [one for one in newest["domains"] if one["name"] == "slow"]
    assert (slow["outcome"], slow["domid"]) == ("clean", before["slow"])
    asked = [move for move in newest["transitions"] if move["after"] == "asked"]
    assert not [move for move in asked if move["name"] == "slow"], "it had acknowledged already"
    assert "was killed; a later run completed its record" in machine.type("history").stdout
