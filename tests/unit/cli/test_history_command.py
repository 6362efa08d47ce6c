"""``history``: what the journal kept, for people and for scripts."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.cli.history import history_text
from lamplighter.cli.main import execute
from lamplighter.cli.output.text import Style
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.writer import Journal
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
DB = UUID("11111111-2222-3333-4444-555555555555")
LOCAL = f"{AT.astimezone():%Y-%m-%d %H:%M:%S}"
END = f"{(AT + timedelta(seconds=14)).astimezone():%H:%M:%S}"


@dataclass
class End:
    status: int
    out: str
    err: str


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "lamplighter.toml").write_text('[host]\nstate = "state"\n')
    return tmp_path / "state"


def call(state: Path, *argv: str) -> End:
    out, err = io.StringIO(), io.StringIO()
    config = str(state.parent / "lamplighter.toml")
    status = execute(["history", *argv], {"LAMPLIGHTER_CONFIG": config}, out, err)
    return End(status, out.getvalue(), err.getvalue())


def fill(state: Path) -> None:
    async def write() -> None:
        await IntentStore(state, CLOCK).settle()
        journal = Journal.open(state, threaded=False)
        run = await journal.begin(Direction.DOWN, "boot-one-and-more", AT)
        arrow = Transition("db", DB, 7, Phase.UP, Phase.ASKED, "poweroff", AT)
        await journal.record(run, arrow)
        await journal.settle(run, Result("db", DB, 7, Outcome.CLEAN, 3.2), AT)
        await journal.settle(run, Result("web", None, 8, Outcome.CLEAN, 1.0), AT)
        hung = Result("hung", None, 9, Outcome.FORCED, 180.0, "it\x1b hung", good=False)
        await journal.settle(run, hung, AT)
        await journal.finish(run, AT + timedelta(seconds=14), 1)
        run = await journal.begin(Direction.UP, "boot-two", AT)
        await journal.settle(run, Result("db", DB, None, Outcome.ALREADY), AT)
        await journal.close()

    virtual.run(write())


def test_runs_by_outcome_and_boots_apart(state: Path) -> None:
    fill(state)
    assert call(state) == End(
        0,
        f"run 2  up  boot boot-two  {LOCAL} has not ended: it is still running, or was killed\n"
        "    already   db\n"
        "\n"
        "-- the host booted --\n"
        "\n"
        f"run 1  down  boot boot-one  {LOCAL} to {END}, exit 1\n"
        "    clean     db (3.2 s), web (1.0 s)\n"
        "    forced    hung (3 min 00 s): it\\x1b hung\n",
        "",
    )


def test_one_domain_with_its_transitions(state: Path) -> None:
    fill(state)
    assert call(state, "db", "--limit", "5", "--transitions").out.splitlines()[-2:] == [
        "    clean     db (3.2 s)",
        f"      {LOCAL}  db (domid 7)  up -> asked: poweroff",
    ]


def test_the_document(state: Path) -> None:
    fill(state)
    document = json.loads(call(state, "--json", "--transitions", "--limit=2").out)
    second, first = document["runs"]
    assert (second["id"], second["ended"], second["exit"]) == (2, None, None)
    assert second["transitions"] == []
    assert {key: first[key] for key in ("direction", "boot_id", "started", "ended", "exit")} == {
        "direction": "down",
        "boot_id": "boot-one-and-more",
        "started": "2025-03-01T12:00:00+00:00",
        "ended": "2025-03-01T12:00:14+00:00",
        "exit": 1,
    }
    assert first["domains"][0] == {
        "name": "db",
        "uuid": str(DB),
        "domid": 7,
        "outcome": "clean",
        "seconds": 3.2,
        "note": "",
        "good": True,
    }
    assert first["transitions"][0]["after"] == "asked"
    assert "transitions" not in json.loads(call(state, "--json").out)["runs"][0]


def test_an_empty_past(state: Path) -> None:
    assert call(state) == End(0, "no runs yet\n", "")
    assert json.loads(call(state, "--json").out) == {"runs": [], "holds": [], "passages": []}
    fill(state)
    assert call(state, "nobody").out == "no run of nobody is in the journal\n"


@pytest.mark.parametrize("limit", ["0", str(10**30)])
def test_a_limit_of_nothing_or_beyond_numbers_is_refused(state: Path, limit: str) -> None:
    end = call(state, "--limit", limit)
    assert (end.status, end.err) == (
        2,
        f"lamplighter: --limit {limit}: expected 1 to 1000000 runs\n",
    )


def test_a_broken_journal_is_reported(state: Path) -> None:
    state.mkdir()
    (state / "state.db").write_bytes(b"garbage" * 100)
    end = call(state)
    assert (end.status, end.out) == (1, "")
    assert "file is not a database" in end.err
    assert "keeps it aside" in end.err


def test_what_ended_alike_is_wrapped_below_itself(state: Path) -> None:
    fill(state)
    reader = JournalReader(state)
    told = history_text(reader.runs()[1:], {}, Style(width=42)).splitlines()
    reader.close()
    assert told[1:] == [
        "    clean     db (3.2 s), web (1.0 s)",
        "    forced    hung (3 min 00 s): it\\x1b",
        "              hung",
    ]
