"""The journal: what returned is on the disk, and what cannot be kept is told."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import JournalError
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import MIGRATIONS
from lamplighter.host.journal.writer import Journal
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Body = Callable[[Journal], Awaitable[None]]

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
UUID_DB = UUID("11111111-2222-3333-4444-555555555555")
UUID_WEB = UUID("99999999-2222-3333-4444-555555555555")


def moved(name: str = "db", after: Phase = Phase.ASKED, detail: str = "asked") -> Transition:
    return Transition(name, UUID_DB, 7, Phase.UP, after, detail, AT)


def ended(name: str = "db", outcome: Outcome = Outcome.CLEAN, *, good: bool = True) -> Result:
    return Result(name, UUID_DB if name == "db" else None, 7, outcome, 12.5, "a note", good=good)


async def with_journal(directory: Path, body: Body, *, threaded: bool) -> None:
    journal = Journal.open(directory, threaded=threaded)
    try:
        await body(journal)
    finally:
        await journal.close()


def in_thread(directory: Path, body: Body) -> None:
    asyncio.run(with_journal(directory, body, threaded=True))


def in_loop(directory: Path, body: Body) -> None:
    virtual.run(with_journal(directory, body, threaded=False), seed=1)


def bulky(name: str) -> Transition:
    return moved(name, detail="x" * 3000)


@pytest.mark.parametrize("drive", [in_thread, in_loop])
def test_keeps_a_whole_run(drive: Callable[[Path, Body], None], tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "boot-1", AT)
        await journal.record(run, moved())
        await journal.settle(run, ended(), AT + timedelta(seconds=13))
        await journal.settle(run, ended("web", Outcome.FORCED, good=False), AT)
        await journal.finish(run, AT + timedelta(seconds=14), 1)

    drive(tmp_path, write)
    reader = JournalReader(tmp_path)
    (run,) = reader.runs()
    assert (run.direction, run.boot_id, run.started, run.exit) == (Direction.DOWN, "boot-1", AT, 1)
    assert run.ended == AT + timedelta(seconds=14)
    assert run.results == (ended(), ended("web", Outcome.FORCED, good=False))
    assert reader.transitions(run.id) == [moved()]
    assert reader.transitions(run.id, "web") == []
    reader.close()


def test_is_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "var" / "state"

    async def look(journal: Journal) -> None:
        await journal.begin(Direction.UP, "b", AT)
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
        files = ("state.db", "state.db-wal", "state.db-shm")
        assert modes == dict.fromkeys(files, 0o600)

    in_thread(state, look)


def test_many_writers_share_commits(tmp_path: Path) -> None:
    commits: list[str] = []

    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)
        journal._connection.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None,
        )
        await asyncio.gather(*(journal.record(run, moved(f"d{i}")) for i in range(1000)))

    in_thread(tmp_path, write)
    assert 1 <= len(commits) <= 3
    assert len(JournalReader(tmp_path).transitions(1)) == 1000


def test_writes_keep_their_order(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)

        async def one(name: str) -> None:
            for phase in (Phase.ASKED, Phase.ACKNOWLEDGED, Phase.ENDED, Phase.ABSENT):
                await journal.record(run, moved(name, phase))

        await asyncio.gather(*(one(f"d{i}") for i in range(20)))

    in_loop(tmp_path, write)
    phases = [t.after for t in JournalReader(tmp_path).transitions(1, "d7")]
    assert phases == [Phase.ASKED, Phase.ACKNOWLEDGED, Phase.ENDED, Phase.ABSENT]


def test_a_reader_sees_what_is_committed_while_a_run_writes(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        beside = JournalReader(tmp_path)
        assert beside.runs() == []
        run = await journal.begin(Direction.UP, "b", AT)
        assert [(r.id, r.ended, r.exit) for r in beside.runs()] == [(run, None, None)]
        # A writer in the middle of its transaction does not hold up a reader.
        journal._connection.execute("BEGIN IMMEDIATE")
        assert len(beside.runs()) == 1
        journal._connection.execute("COMMIT")
        beside.close()

    in_loop(tmp_path, write)


def test_no_journal_yet_is_no_past(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "never")
    assert reader.runs() == []
    assert reader.last_records("b") == {}
    assert not (tmp_path / "never").exists()


def test_a_database_without_tables_is_no_past(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert JournalReader(tmp_path).runs() == []


def test_runs_are_newest_first_limited_and_by_domain(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        for number in range(5):
            run = await journal.begin(Direction.UP, f"boot-{number}", AT)
            await journal.settle(run, ended("db" if number % 2 else "web"), AT)
            await journal.settle(run, ended("mail"), AT)
        running = await journal.begin(Direction.DOWN, "boot-9", AT)
        await journal.record(running, moved("db"))

    in_loop(tmp_path, write)
    reader = JournalReader(tmp_path)
    assert [run.id for run in reader.runs(limit=2)] == [6, 5]
    mine = reader.runs(name="db")
    assert [run.id for run in mine] == [6, 4, 2]
    assert [[r.name for r in run.results] for run in mine] == [[], ["db"], ["db"]]
    assert [run.id for run in reader.runs(name=str(UUID_DB).upper())] == [6, 4, 2]
    assert reader.runs(name="nobody") == []


def test_traces_hold_the_newest_of_this_boot(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        old = await journal.begin(Direction.UP, "before", AT)
        await journal.settle(old, ended("mail"), AT)
        run = await journal.begin(Direction.UP, "now", AT)
        await journal.record(run, moved("db", Phase.ASKED))
        await journal.record(run, moved("db", Phase.ENDED))
        await journal.settle(run, ended("db", Outcome.FAILED, good=False), AT)
        down = await journal.begin(Direction.DOWN, "now", AT)
        await journal.settle(down, ended("db"), AT + timedelta(seconds=9))

    in_loop(tmp_path, write)
    last_records = JournalReader(tmp_path).last_records("now")
    assert set(last_records) == {"db"}
    last_record = last_records["db"]
    assert last_record.moved == moved("db", Phase.ENDED)
    assert (last_record.result, last_record.direction) == (ended("db"), Direction.DOWN)
    assert last_record.settled == AT + timedelta(seconds=9)


def test_text_no_database_takes_is_kept_readable(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)
        await journal.record(run, moved(detail="byte \udcff and nul \0"))

    in_loop(tmp_path, write)
    assert JournalReader(tmp_path).transitions(1)[0].detail == "byte \\udcff and nul \0"


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.unit.host.journal.test_writer import AT, moved
from lamplighter.host.journal.writer import Journal
from lamplighter.model.run import Direction

async def main():
    journal = Journal.open(Path(sys.argv[1]))
    run = await journal.begin(Direction.DOWN, "b", AT)

    async def one(worker):
        for number in range(100000):
            name = f"{worker}-{number}"
            await journal.record(run, moved(name))
            print(name, flush=True)

    await asyncio.gather(*(one(worker) for worker in range(8)))

asyncio.run(main())
"""


def test_what_returned_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(200)]
        writer.kill()
        told += writer.stdout.read().split()
    reader = JournalReader(tmp_path)
    kept = {transition.name for transition in reader.transitions(1)}
    assert all(told)
    assert set(told) <= kept
    assert (reader.runs()[0].ended, reader.runs()[0].exit) == (None, None)


def test_a_full_disk_is_reported_and_may_pass(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        ends = await asyncio.gather(
            *(journal.record(run, bulky(f"d{i}")) for i in range(20)),
            return_exceptions=True,
        )
        assert all(isinstance(end, JournalError) for end in ends)
        with pytest.raises(JournalError, match=r"state\.db cannot be written: .* full") as caught:
            await journal.record(run, moved("big", detail="x" * 100_000))
        assert caught.value.hint == "make room on the file system that holds it"
        journal._connection.execute("PRAGMA max_page_count = 100000")
        await journal.record(run, moved("later"))
        assert [t.name for t in JournalReader(tmp_path).transitions(run)] == ["later"]

    in_thread(tmp_path, write)


def test_a_write_that_makes_no_sense_fails_alone(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)
        good, bad = await asyncio.gather(
            journal.record(run, moved("good")),
            journal.record(run + 99, moved("bad")),
            return_exceptions=True,
        )
        assert good is None
        assert isinstance(bad, JournalError)
        assert [t.name for t in JournalReader(tmp_path).transitions(run)] == ["good"]

    in_loop(tmp_path, write)


def test_a_cancelled_writer_has_still_written(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        run = await journal.begin(Direction.DOWN, "b", AT)
        one = asyncio.ensure_future(journal.record(run, moved("one")))
        two = asyncio.ensure_future(journal.record(run, moved("two")))
        await journal.record(run, moved("zero"))
        one.cancel()
        await asyncio.gather(one, two, return_exceptions=True)
        assert {t.name for t in JournalReader(tmp_path).transitions(run)} == {"zero", "one", "two"}

    in_thread(tmp_path, write)


@pytest.mark.parametrize("drive", [in_thread, in_loop])
def test_a_closed_journal_says_so(drive: Callable[[Path, Body], None], tmp_path: Path) -> None:
    kept: list[Journal] = []

    async def keep(journal: Journal) -> None:
        kept.append(journal)
        await journal.close()
        with pytest.raises(JournalError, match="is closed"):
            await journal.begin(Direction.UP, "b", AT)

    drive(tmp_path, keep)
    assert len(kept) == 1


def test_a_read_only_journal_is_reported(tmp_path: Path) -> None:
    async def nothing(journal: Journal) -> None:
        await journal.begin(Direction.UP, "b", AT)

    in_loop(tmp_path, nothing)

    async def write(journal: Journal) -> None:
        journal._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(JournalError, match="readonly database") as caught:
            await journal.begin(Direction.UP, "b", AT)
        assert "read-write" in caught.value.hint

    in_loop(tmp_path, write)


# --- files that are not a journal ------------------------------------------------------------


def opened_both_ways(directory: Path) -> list[JournalError]:
    errors = []
    for way in (lambda: Journal.open(directory, threaded=False), lambda: JournalReader(directory)):
        with pytest.raises(JournalError) as caught:
            way()
        errors.append(caught.value)
    return errors


def test_a_torn_page_is_reported(tmp_path: Path) -> None:
    async def fill(journal: Journal) -> None:
        run = await journal.begin(Direction.UP, "b", AT)
        await asyncio.gather(*(journal.record(run, bulky(f"d{i}")) for i in range(200)))

    in_loop(tmp_path, fill)
    path = tmp_path / "state.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(JournalError, match="malformed"):
        JournalReader(tmp_path).transitions(1)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path, threaded=False)._connection.execute("PRAGMA user_version = 99")
    for error in opened_both_ways(tmp_path):
        assert f"version 99, this one knows {len(MIGRATIONS)}" in error.message


def test_a_strangers_database_is_refused(tmp_path: Path) -> None:
    stranger = sqlite3.connect(tmp_path / "state.db")
    stranger.execute("CREATE TABLE recipes (name)")
    stranger.commit()
    stranger.close()
    before = (tmp_path / "state.db").read_bytes()
    for error in opened_both_ways(tmp_path):
        assert "not Lamplighter's" in error.message
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_value_of_another_version_is_reported(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, threaded=False)
    journal._connection.execute(
        "INSERT INTO run (direction, boot_id, started) VALUES ('sideways', 'b', '2025-01-01')",
    )
    with pytest.raises(JournalError, match="does not know: 'sideways'"):
        JournalReader(tmp_path).runs()


def test_a_state_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(JournalError, match=r"state\.db cannot be opened") as caught:
        Journal.open(tmp_path / "state")
    assert "[host] state" in caught.value.hint
    with pytest.raises(JournalError, match="cannot be read"):
        JournalReader(tmp_path / "state")


def test_a_state_db_that_is_a_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    for error in opened_both_ways(tmp_path):
        assert "cannot be opened" in error.message or "cannot be read" in error.message


@pytest.fixture
def foreign_directory() -> Iterator[Path]:
    """A directory this process may read but not write, even where tests run as root."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        asyncio.run(Journal.open(directory).close())
        (directory / "state.db").chmod(0o644)
        directory.chmod(0o555)
        privileged = os.geteuid() == 0
        if privileged:
            os.seteuid(nobody)
        try:
            yield directory
        finally:
            if privileged:
                os.seteuid(0)
            directory.chmod(0o700)


def test_a_directory_that_may_not_be_written_is_reported_and_still_read(
    foreign_directory: Path,
) -> None:
    assert JournalReader(foreign_directory).runs() == []
    with pytest.raises(JournalError, match="cannot be opened: Permission denied") as caught:
        Journal.open(foreign_directory / "deeper")
    assert "may read and write" in caught.value.hint
