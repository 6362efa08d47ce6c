"""A journal of every released version is read as it is, and migrated with all that it says.

``tests/data/journal/vN.sql`` is what version N made, frozen. A version N + 1 adds its migration and
a file of its own; the file of N must be there by then.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import format_intents
from lamplighter.host.journal import database, intent_file, intents
from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import FILE_NAME, MIGRATIONS
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, Intents, Meant
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual
from tests.simulated import CLOCK

RELEASED = Path(__file__).parents[3] / "data" / "journal"
VERSIONS = sorted(int(path.stem[1:]) for path in RELEASED.glob("v*.sql"))
NEWEST = len(MIGRATIONS)

#: From this version on, intents are not in the database.
FIRST_WITH_FILE = 3
IN_TABLES = [version for version in VERSIONS if version < FIRST_WITH_FILE]
WEB = UUID("00000000-0000-4000-8000-000000000001")


def at(day: int, clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{day:02}T{clock}+01:00")


def released(directory: Path, version: int) -> None:
    """Put a journal of this version in place, with the file of intents that it had beside it."""
    if version >= FIRST_WITH_FILE:
        (directory / intent_file.FILE_NAME).write_bytes(
            (RELEASED / f"v{version}.json").read_bytes()
        )
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.executescript((RELEASED / f"v{version}.sql").read_text(encoding="utf-8"))


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: re.sub(r"\s+", " ", sql).replace('"', "") for name, sql in rows}


def test_every_version_before_the_newest_has_its_file() -> None:
    missing = set(range(1, NEWEST)) - set(VERSIONS)
    assert not missing, f"freeze what these versions made, in {RELEASED}: {missing}"


@pytest.mark.parametrize("version", VERSIONS)
def test_migrations_make_the_tables_that_were_released(tmp_path: Path, version: int) -> None:
    released(tmp_path, version)
    with (
        closing(sqlite3.connect(tmp_path / FILE_NAME)) as frozen,
        closing(sqlite3.connect(":memory:")) as made,
    ):
        for migration in MIGRATIONS[:version]:
            for statement in migration:
                made.execute(statement)
        assert tables(made) == tables(frozen), "a migration that was released is not changed"


def check_runs(reader: JournalReader) -> None:
    """What the runs of every version's file say."""
    dead, whole = reader.runs()
    assert (whole.id, whole.direction, whole.boot_id, whole.exit) == (1, Direction.UP, "boot-1", 1)
    assert (whole.started, whole.ended) == (at(1, "08:00:00"), at(1, "08:00:09"))
    assert whole.results == (
        Result("naïve", None, None, Outcome.FAILED, 1.25, "no memory", good=False),
        Result("web", WEB, 3, Outcome.STARTED, 7.5),
    )
    asked = Transition(
        "web", WEB, 3, Phase.UP, Phase.ASKED, "asked to power off", at(1, "18:00:01")
    )
    assert reader.transitions(dead.id) == [asked]
    assert [move.after for move in reader.transitions(1)] == [Phase.CREATING, Phase.BOOTING]
    (end,) = reader.unfinished()
    assert (end.run.id, end.moved) == (2, (asked,))
    assert reader.last_records("boot-1")["web"].moved == asked


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_read_as_it_is(tmp_path: Path, version: int) -> None:
    released(tmp_path, version)
    before = (tmp_path / FILE_NAME).read_bytes()
    with closing(JournalReader(tmp_path)) as reader:
        check_runs(reader)
        reader.holds("db")
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_migrated_with_all_that_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: int
) -> None:
    released(tmp_path, version)

    check_intents(load_intents(tmp_path))

    async def story() -> None:
        await IntentStore(tmp_path, CLOCK).settle()
        journal = Journal.open(tmp_path, threaded=False)
        with closing(JournalReader(tmp_path)) as reader:
            check_runs(reader)
        check_intents(load_intents(tmp_path))
        assert await journal.begin(Direction.UP, "boot-2", at(9, "08:00:00")) == 3
        await journal.close()

    virtual.run(story())
    assert caplog.messages == []
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as migrated:
        assert migrated.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        with closing(database.open_writer(new_folder(tmp_path))) as new:
            assert tables(migrated) == tables(new)


def new_folder(directory: Path) -> Path:
    folder = directory / "new"
    folder.mkdir()
    return folder


def check_intents(known: Intents) -> None:
    """What was said: version 1 knew no names, and nobody released a hold in it."""
    assert {key: one.meant for key, one in known.meant.items()} == {
        str(WEB): Meant.UP,
        "mail": Meant.DOWN,
    }
    assert known.meant["mail"].at == at(2, "08:00:00")
    assert known.meant[str(WEB)].said_by == "anna"
    assert known.holds == {"db": Hold("db", "db", "disk 3 is broken", "carl", at(3, "08:00:00"))}


HELD_TOO = Hold("web", "web", "noisy", "anna", at(4, "08:00:00"))
HELD_BY = {
    1: "INSERT INTO intent VALUES (:domain, 'held', 'noisy', 'anna', :at)",
    2: "INSERT INTO hold (domain, name, reason, said_by, at) "
    "VALUES (:domain, :domain, 'noisy', 'anna', :at)",
}


@pytest.mark.parametrize("version", HELD_BY)
def test_what_an_older_version_at_work_says_meanwhile_is_carried_over_or_fails(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an upgrade: nobody is told that a domain is held that then is not."""
    released(tmp_path, version)
    older = sqlite3.connect(tmp_path / FILE_NAME, timeout=0, isolation_level=None)
    held = {"db"}

    def hold(name: str) -> None:
        with suppress(sqlite3.OperationalError):
            older.execute(HELD_BY[version], {"domain": name, "at": at(4, "08:00:00").isoformat()})
            held.add(name)

    def store(directory: Path, known: Intents) -> None:
        hold("when the tables have been read")
        intent_file.store(directory, known)
        hold("when the file is there")

    monkeypatch.setattr(intents, "store", store)
    hold("before")
    virtual.run(IntentStore(tmp_path, CLOCK).settle())
    hold("after")
    database.open_writer(tmp_path).close()
    hold("at last")
    assert set(load_intents(tmp_path).holds) == held == {"db", "before"}


@pytest.mark.parametrize("version", IN_TABLES)
@pytest.mark.parametrize("copy", ["{", '{"version": 1, "intents": [], "holds": []}'])
def test_the_tables_decide_and_not_an_old_copy_of_them(
    tmp_path: Path, version: int, copy: str
) -> None:
    released(tmp_path, version)
    (tmp_path / "intent.json").write_text(copy)
    check_intents(load_intents(tmp_path))
    virtual.run(IntentStore(tmp_path, CLOCK).settle())
    check_intents(load_intents(tmp_path))


def test_the_copy_decides_where_the_journal_it_stood_beside_is_damaged(tmp_path: Path) -> None:
    released(tmp_path, 2)
    copy = format_intents(load_intents(tmp_path)).replace('"version": 2', '"version": 1')
    (tmp_path / "intent.json").write_text(copy)
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database" * 400)
    check_intents(load_intents(tmp_path))
    virtual.run(IntentStore(tmp_path, CLOCK).settle())
    with closing(database.open_writer(tmp_path)):
        check_intents(load_intents(tmp_path))


@pytest.mark.parametrize("version", IN_TABLES)
def test_all_that_is_held_may_be_released_before_it_is_carried_over(
    tmp_path: Path, version: int
) -> None:
    released(tmp_path, version)
    known = virtual.run(IntentStore(tmp_path, CLOCK).begin_again())
    check_intents(known)
    left = load_intents(tmp_path)
    assert (left.meant, left.holds) == (known.meant, {})


@pytest.mark.parametrize("version", IN_TABLES)
def test_tables_that_come_back_beside_a_file_do_not_count(tmp_path: Path, version: int) -> None:
    """A journal from a backup: what was held since is in the file, torn or not."""
    store = IntentStore(tmp_path, CLOCK)
    web = Hold("web", "web", "noisy", "anna", at(3, "08:00:00"))
    virtual.run(store.hold(web))
    virtual.run(store.hold(web._replace(reason="still noisy")))
    released(tmp_path, version)
    assert set(load_intents(tmp_path).holds) == {"web"}
    for torn in (True, False):
        if torn:
            (tmp_path / "intent.json").write_text("{")
        else:
            (tmp_path / "intent.json").unlink()
        with pytest.raises(JournalError):
            load_intents(tmp_path)


def test_where_a_journal_and_its_only_holds_are_damaged_they_stay_not_known(
    tmp_path: Path,
) -> None:
    released(tmp_path, 1)
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database" * 400)
    for _ in range(2):
        with pytest.raises(JournalError):
            load_intents(tmp_path)
        with pytest.raises(JournalError):
            virtual.run(IntentStore(tmp_path, CLOCK).settle())
        with closing(database.open_writer(tmp_path)):
            pass


@pytest.mark.parametrize("version", IN_TABLES)
def test_a_migration_that_fails_leaves_the_journal_as_it_was(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(tmp_path, version)
    broken = (*MIGRATIONS[:-1], (*MIGRATIONS[-1], "CREATE TABLE run (id)"))
    monkeypatch.setattr(database, "MIGRATIONS", broken)
    virtual.run(IntentStore(tmp_path, CLOCK).hold(HELD_TOO))
    with pytest.raises(JournalError, match="cannot be opened: table run already exists"):
        database.open_writer(tmp_path)
    monkeypatch.undo()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (version,)
    with closing(database.open_writer(tmp_path)):
        assert set(load_intents(tmp_path).holds) == {"db", "web"}, "it was held all the same"
