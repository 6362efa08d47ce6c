"""A state database that is damaged, gone, newer or without room never moves a domain wrongly.

Each command is a process, at an embedded host whose time passes fast. In these stories ``held`` is
kept down by an administrator, and starting it would be the wrong action.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.shell import HOST, QUICK, Shell, outcomes, write_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIGURATION = f"""\
{HOST}
[defaults]
start = "always"

[domain.last]
start = "last-state"
"""

SLOW = 'memory = 64\nembedded_boot = "1s"\nembedded_guest = "slow"\nembedded_shutdown = "150s"\n'
DEFINITIONS = {"held": QUICK, "last": QUICK, "web": QUICK, "slow": SLOW}
RUNNING = {"last", "web", "slow"}


class Machine(Shell):
    """A host and its state."""

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def database(self) -> Path:
        return self.state / "state.db"

    def boot(self, speed: int = 40) -> None:
        super().boot(speed)

    def running(self) -> set[str]:
        rows = self.ask_any("status")["domains"]
        return {row["name"] for row in rows if row["seen"] in ("running", "booting")}

    def ask_any(self, *words: str) -> dict[str, Any]:
        """Ask without minding whether all is as wanted."""
        ended = self.type("--json", *words)
        return self.ask(*words, status=ended.returncode)

    def asides(self) -> list[Path]:
        """The databases that were kept aside, without what SQLite keeps beside one."""
        found = sorted(self.state.glob("state.db.damaged-*"))
        return [path for path in found if not path.name.endswith(("-wal", "-shm"))]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A host on which everything runs that may."""
    write_host(tmp_path, CONFIGURATION, DEFINITIONS, uuids=True)
    machine = Machine(tmp_path)
    machine.boot()
    yield machine
    machine.type("host", "stop")


def begin(machine: Machine) -> None:
    """Hold one, start the others."""
    machine.ask("hold", "held", "--reason", "disk 3 is broken")
    machine.ask("up")
    machine.ask("up", "last")
    assert machine.running() == RUNNING


# --- damaged ---------------------------------------------------------------------------------


def garbage(database: Path) -> None:
    database.write_bytes(os.urandom(20_000))


def truncated(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:8192])


@pytest.mark.parametrize("damage", [garbage, truncated])
def test_a_damaged_one_is_begun_again_and_what_is_held_stays_down(
    machine: Machine, damage: Callable[[Path], None]
) -> None:
    begin(machine)
    damage(machine.database)

    for words in (("status",), ("plan", "up"), ("plan", "down")):
        told = machine.type(*words)
        assert told.returncode == 0, told.stderr
        assert "keeps it aside and begins a new one" in told.stderr
        assert "intent.json" in told.stderr
    assert machine.type("history").returncode == 1
    assert "keeps it aside" in machine.type("history").stderr
    assert machine.ask("check", status=78)["problems"][0]["code"] == "journal-damaged"
    assert machine.asides() == [], "who only reads moves nothing"
    steps = {step["name"]: step["outcome"] for step in machine.ask("plan", "up")["steps"]}
    assert steps["held"] == "held"

    down = machine.type("--json", "down")
    assert down.returncode == 0, down.stderr
    (aside,) = machine.asides()
    assert str(aside) in down.stderr
    assert "history forgets the runs before this one" in down.stderr
    assert machine.running() == set()
    (run,) = machine.ask("history")["runs"]
    assert outcomes(run) == dict.fromkeys(RUNNING, "clean")

    machine.boot()
    assert outcomes(machine.ask("up")) == {**dict.fromkeys(RUNNING, "started"), "held": "held"}
    assert "disk 3 is broken" in machine.type("release", "held").stdout


def test_the_first_change_may_be_the_hosts_start_or_a_hold(machine: Machine) -> None:
    begin(machine)
    machine.boot()
    garbage(machine.database)
    assert outcomes(machine.ask("up")) == {**dict.fromkeys(RUNNING, "started"), "held": "held"}
    garbage(machine.database)
    held = machine.type("hold", "web", "--reason", "noisy")
    assert held.returncode == 0
    assert "it is kept as" in held.stderr
    assert {hold["name"] for hold in machine.ask("history")["holds"]} == {"held", "web"}
    garbage(machine.database)
    assert "it is kept as" in machine.type("release", "web").stderr
    assert {hold["name"] for hold in machine.ask("history")["holds"]} == {"held"}
    assert len(machine.asides()) == 3


def test_where_nobody_knows_what_is_held_only_named_domains_are_started(machine: Machine) -> None:
    begin(machine)
    garbage(machine.database)
    (machine.state / "intent.json").write_text("{")

    assert machine.ask("check", status=78)["problems"][0]["code"] == "journal-damaged"
    down = machine.ask("down")
    assert outcomes(down) == dict.fromkeys(RUNNING, "clean")
    assert down["run"]["record_lost"] is None
    assert machine.ask("history")["runs"][0]["id"] == down["run"]["id"], "history is apart"
    assert "cannot be read" in machine.ask("check", status=78)["problems"][-1]["message"]
    up = machine.ask("up", status=1)
    # What can be read of the file before the last change keeps its domain down.
    assert outcomes(up) == {"held": "held", "last": "failed", "web": "failed", "slow": "failed"}
    assert "whether it is held, or was up, is not known" in up["domains"][1]["note"]
    assert outcomes(machine.ask("up", "held", status=1)) == {"held": "held"}
    assert outcomes(machine.ask("up", "web")) == {"web": "started"}
    hold = machine.ask("hold", "held", "--reason", "still broken", status=1)
    assert "lamplighter release --all" in hold["error"]["hint"]

    # As the hint says: nobody holds anything, and what does hold is said again.
    assert machine.ask("release", "--all") == {"released": ["held"], "held": [], "exit": 0}
    machine.ask("hold", "held", "--reason", "still broken")
    assert outcomes(machine.ask("up")) == {
        "held": "held", "web": "already", "slow": "started", "last": "skipped",
    }  # fmt: skip


def test_what_was_held_before_the_last_change_can_be_accepted(machine: Machine) -> None:
    begin(machine)
    machine.ask("hold", "web", "--reason", "noisy")
    machine.ask("down")
    before = machine.state / "intent.json.before"
    shutil.copy(before, machine.state / "intent.json")
    up = machine.ask("up", status=1)
    assert outcomes(up) == {"held": "held", "last": "failed", "web": "failed", "slow": "failed"}
    assert "is older than the journal has seen" in up["domains"][1]["note"]
    accepted = machine.ask("release", "--accept")
    assert set(accepted["held"]) <= {"held", "web"}
    assert "held" in accepted["held"]
    assert outcomes(machine.ask("up"))["held"] == "held"
    assert machine.type("release", "--all", "--accept").returncode == 2
    assert machine.type("release").returncode == 2


# --- newer, gone -----------------------------------------------------------------------------


def test_where_the_folder_itself_is_gone_within_a_boot_only_named_domains_are_started(
    machine: Machine,
) -> None:
    begin(machine)
    machine.ask("down")
    shutil.rmtree(machine.state)
    steps = {step["name"]: step["outcome"] for step in machine.ask("plan", "up")["steps"]}
    assert set(steps.values()) == {"failed"}
    assert "intent.json is gone" in machine.ask("check", status=78)["problems"][0]["message"]
    up = machine.ask("up", status=1)
    assert set(outcomes(up).values()) == {"failed"}
    assert "lamplighter release --all" in machine.type("up").stderr
    machine.ask("release", "--all")
    assert outcomes(machine.ask("up", "web")) == {"web": "started"}


@pytest.mark.parametrize("name", ["state", "state/intent.json"])
def test_what_others_may_write_is_not_believed_until_they_may_not(
    machine: Machine, name: str
) -> None:
    begin(machine)
    machine.ask("down")
    path = machine.folder / name
    mode = path.stat().st_mode
    path.chmod(mode | 0o002)
    assert {problem["hint"] for problem in machine.ask("check", status=78)["problems"]} == {
        f"chmod o-w {path}"
    }
    up = machine.ask("up", status=1)
    assert outcomes(up) == {"held": "held", "last": "failed", "web": "failed", "slow": "failed"}
    path.chmod(mode)
    assert outcomes(machine.ask("up")) == {**dict.fromkeys(RUNNING, "started"), "held": "held"}


def test_a_newer_one_is_reported_and_left_alone(machine: Machine) -> None:
    begin(machine)
    machine.ask("down", "web")
    with closing(sqlite3.connect(machine.database)) as newer:
        newer.execute("PRAGMA user_version = 99")
        newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = machine.database.read_bytes()

    up = machine.ask("up", status=1)
    assert outcomes(up) == {"last": "already", "slow": "already", "held": "held", "web": "failed"}
    assert "was written by a newer Lamplighter" in up["run"]["record_lost"]
    for words in (("hold", "web", "--reason", "x"), ("release", "held"), ("history",)):
        assert machine.ask(*words, status=1)["error"]["code"] == "journal-foreign"
    down = machine.ask("down")
    assert outcomes(down) == {"last": "clean", "slow": "clean"}
    assert "was written by a newer Lamplighter" in down["run"]["record_lost"]
    assert machine.database.read_bytes() == before
    assert machine.asides() == []


def test_one_that_is_gone_is_begun_again(machine: Machine) -> None:
    begin(machine)
    machine.database.unlink()
    machine.boot()
    up = machine.type("--json", "up")
    assert "state.db is gone" in up.stderr
    assert machine.running() == RUNNING


def test_without_any_state_what_runs_is_meant_to_be_up(machine: Machine) -> None:
    begin(machine)
    shutil.rmtree(machine.state)
    (machine.folder / "run" / "intents.kept").unlink()
    assert outcomes(machine.ask("down")) == dict.fromkeys(RUNNING, "clean")
    machine.boot()
    ends = outcomes(machine.ask("up"))
    assert ends["last"] == "started", "it was seen running before it was stopped"


# --- no room ---------------------------------------------------------------------------------


class SmallDisk:
    """A file system of its own for the state, in a mount namespace that dies with its holder."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self.state = Path(f"/proc/{pid}/root{machine.state}")
        self._filler = self.state / "filler"

    def fill(self) -> None:
        """Leave no room for a single byte."""
        with self._filler.open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(machine: Machine) -> Iterator[SmallDisk]:
    machine.state.mkdir(mode=0o700, exist_ok=True)
    mount = f"mount -t tmpfs -o size=512k,mode=700 tmpfs {machine.state} && echo there && exec cat"
    try:
        holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
    except OSError as error:
        pytest.skip(f"needs a mount namespace: {error}")
    with holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "there\n" or shutil.which("nsenter") is None:
            pytest.skip("needs root and a mount namespace")
        machine.launcher = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"]
        try:
            yield SmallDisk(machine, holder.pid)
        finally:
            machine.launcher = []


def test_a_disk_that_is_full_in_the_middle_of_a_stop_costs_only_the_record(
    machine: Machine,
) -> None:
    with small_disk(machine) as disk:
        begin(machine)
        stop = machine.begin("--json", "down")
        disk.fill()
        out, err = stop.communicate(timeout=60)
        assert stop.returncode == 0, err
        assert err.count("is incomplete") == 1, err
        assert "database or disk is full (make room on the file system" in err
        assert '"record_lost": "the record of this run, which goes on, is incomplete' in out
        assert out.count('"clean"') == len(RUNNING)
        assert machine.running() == set()

        disk.fill()  # what the journal's log had taken
        for words in (("hold", "web", "--reason", "x"), ("release", "held")):
            word = machine.ask(*words, status=1)
            assert word["error"]["code"] == "journal"
            assert "No space left" in word["error"]["message"]
        disk.free()
        up = machine.ask("up")
        assert up["run"]["record_lost"] is None
        assert outcomes(up) == {**dict.fromkeys(RUNNING, "started"), "held": "held"}
        (newest, *_) = machine.ask("history")["runs"]
        assert (newest["id"], newest["exit"]) == (up["run"]["id"], 0)


def test_a_disk_that_is_full_from_the_beginning_stops_no_run(machine: Machine) -> None:
    with small_disk(machine) as disk:
        begin(machine)
        for path in disk.state.glob("state.db*"):
            path.unlink()
        disk.fill()
        down = machine.type("down")
        assert down.returncode == 0, down.stderr
        assert "this run is not recorded, and goes on" in down.stdout
        up = machine.ask("up")
        assert "this run is not recorded" in up["run"]["record_lost"]
        assert outcomes(up) == {**dict.fromkeys(RUNNING, "started"), "held": "held"}
