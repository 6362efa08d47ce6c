"""A journal that is damaged or gone is begun anew with every intent and hold, or not at all."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import JournalDamaged, JournalError, JournalForeign
from lamplighter.host import lock
from lamplighter.host.journal import database, intents
from lamplighter.host.journal.database import open_writer
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import FILE_NAME
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Transition
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Damage = Callable[[Path], None]

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOLD = Hold("db", "db", "disk 3 is broken", "carl", AT)
MEANT = Intent("web", "web", Meant.UP, "asked", "anna", AT, "boot", 4)
SAID = Intents({"web": MEANT}, {"db": HOLD})
GARBAGE = b"this is no database at all" * 400


def with_journal(directory: Path, body: Callable[[Journal], Awaitable[None]]) -> str:
    """Open the journal and do something with it; return what was told of its opening."""

    async def story() -> str:
        journal = Journal.open(directory, threaded=False)
        try:
            await body(journal)
        finally:
            await journal.close()
        return journal.told

    return virtual.run(story())


async def fill(journal: Journal) -> None:
    await journal.hold(HOLD)
    await journal.intend(MEANT)
    run = await journal.begin(Direction.UP, "boot", AT)
    for number in range(200):
        name, detail = f"web-{number}", "x" * 200
        move = Transition(name, None, 4, Phase.ABSENT, Phase.CREATING, detail, AT)
        await journal.record(run, move)


async def look(journal: Journal) -> None:
    assert journal.intents() == SAID


@pytest.fixture
def state(tmp_path: Path) -> Path:
    assert with_journal(tmp_path, fill) == ""
    return tmp_path


def asides(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob(f"{FILE_NAME}.damaged-*"))


# --- kinds of damage -------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(GARBAGE)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096])


def cut_to_pieces(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def tear_a_page(path: Path) -> None:
    """Deep in a table that is read when there is a run to recover, and not before."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)


def zero_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = bytes(4096)
    path.write_bytes(content)


DAMAGES = [garbage, truncate, cut_to_pieces, tear_a_page, zero_a_page]


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_kept_aside_and_begun_anew_with_what_was_said(state: Path, damage: Damage) -> None:
    damage(state / FILE_NAME)
    damaged = (state / FILE_NAME).read_bytes()
    told = with_journal(state, look)
    (name,) = asides(state)
    assert re.fullmatch(rf"{FILE_NAME}\.damaged-\d{{8}}T\d{{6}}", name)
    assert (state / name).read_bytes() == damaged
    assert str(state / name) in told
    assert "intents (1) and holds (1)" in told
    assert "history forgets" in told
    with closing(JournalReader(state)) as reader:
        assert reader.intents() == SAID
        assert reader.runs() == []
    assert with_journal(state, look) == "", "it is told once"


@pytest.mark.parametrize("damage", [garbage, truncate, cut_to_pieces])
def test_who_only_reads_tells_it_and_moves_nothing(state: Path, damage: Damage) -> None:
    damage(state / FILE_NAME)
    before = (state / FILE_NAME).read_bytes()
    with pytest.raises(JournalDamaged) as caught:
        JournalReader(state).runs()
    assert "the next lamplighter up or down keeps it aside" in caught.value.hint
    assert (state / FILE_NAME).read_bytes() == before
    assert asides(state) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("copy", [None, b"", b'{"version": 1', b'{"version": 9}'])
def test_without_a_copy_to_rely_on_it_stays_where_it_is(
    state: Path, damage: Damage, copy: bytes | None
) -> None:
    damage(state / FILE_NAME)
    lose_copy(state, copy)
    with pytest.raises(JournalDamaged) as caught:
        Journal.open(state)
    assert "if none is held, move it aside" in caught.value.hint
    assert asides(state) == []


def lose_copy(state: Path, copy: bytes | None) -> None:
    path = state / intents.FILE_NAME
    if copy is None:
        path.unlink()
    else:
        path.write_bytes(copy)


def test_an_earlier_one_is_never_overwritten(state: Path) -> None:
    for number in range(3):
        (state / FILE_NAME).write_bytes(GARBAGE + bytes([number]))
        with_journal(state, look)
    kept = {(state / name).read_bytes()[-1] for name in asides(state)}
    assert kept == {0, 1, 2}


def test_a_name_is_free_only_when_all_that_belongs_to_it_is(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(GARBAGE)
    (tmp_path / f"{FILE_NAME}.damaged-20260301T120000-wal").write_bytes(b"older")
    with database.exclusive(tmp_path) as folder:
        kept = database.quarantine(folder, path, AT)
    assert kept.name == f"{FILE_NAME}.damaged-20260301T120000-2"


def test_log_and_index_go_with_it(tmp_path: Path) -> None:
    """What SQLite has left of them, after it had a look at the database."""
    path = tmp_path / FILE_NAME
    for suffix in database.SUFFIXES:
        path.with_name(FILE_NAME + suffix).write_text(suffix)
    with database.exclusive(tmp_path) as folder:
        kept = database.quarantine(folder, path, AT)
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {
        kept.name + suffix: suffix for suffix in database.SUFFIXES
    }


def test_a_link_is_not_followed_and_not_moved(state: Path) -> None:
    elsewhere = state / "elsewhere.db"
    (state / FILE_NAME).rename(elsewhere)
    (state / FILE_NAME).symlink_to(elsewhere)
    with_journal(state, look)
    elsewhere.write_bytes(GARBAGE)
    with pytest.raises(JournalError, match=r"a link to .*elsewhere\.db: it is not moved"):
        Journal.open(state)
    assert (state / FILE_NAME).is_symlink()
    assert elsewhere.read_bytes() == GARBAGE


def test_whoever_comes_second_uses_what_the_first_one_has_begun(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage(state / FILE_NAME)
    waits = lock.fcntl.flock
    told: list[str] = []

    def somebody_was_faster(descriptor: int, how: int) -> None:
        monkeypatch.setattr(lock.fcntl, "flock", waits)
        faster = open_writer(state)
        faster.connection.close()
        told.append(faster.told)

    monkeypatch.setattr(lock.fcntl, "flock", somebody_was_faster)
    assert with_journal(state, look) == ""
    assert len(told) == 1
    assert len(asides(state)) == 1


# --- a journal that is gone ------------------------------------------------------------------


def test_a_first_start_has_nothing_to_tell(tmp_path: Path) -> None:
    async def nothing(journal: Journal) -> None:
        assert journal.intents() == Intents()

    assert with_journal(tmp_path / "new" / "state", nothing) == ""


@pytest.mark.parametrize("empty", [True, False])
def test_one_that_is_gone_is_begun_anew_from_its_copy(state: Path, empty: bool) -> None:
    (state / FILE_NAME).unlink()
    if empty:
        (state / FILE_NAME).touch()
    with closing(JournalReader(state)) as reader:
        assert reader.intents() == SAID, "a plan says what the run will do"
    told = with_journal(state, look)
    assert "is gone" in told
    assert "intents (1) and holds (1)" in told


def test_one_that_is_gone_with_a_copy_that_is_damaged_is_not_begun(state: Path) -> None:
    (state / FILE_NAME).unlink()
    lose_copy(state, b"{")
    with pytest.raises(JournalError, match=r"the copy .*intent\.json, cannot be read") as caught:
        Journal.open(state)
    assert "if no domain is held, move it aside" in caught.value.hint
    with pytest.raises(JournalError, match=r"cannot be read"):
        JournalReader(state).intents()


def test_a_journal_moved_away_under_a_run_is_told(state: Path) -> None:
    async def body(journal: Journal) -> None:
        (state / FILE_NAME).rename(state / "elsewhere")
        with pytest.raises(JournalError, match="was moved or removed while it was written to"):
            await journal.begin(Direction.UP, "boot", AT)

    with_journal(state, body)


# --- copy and journal ------------------------------------------------------------------------


def test_the_copy_follows_every_word(state: Path) -> None:
    async def body(journal: Journal) -> None:
        assert intents.read_copy(state) == SAID
        await journal.release("db", "anna", AT)
        assert intents.read_copy(state) == Intents(SAID.meant)
        await journal.hold(HOLD)

    with_journal(state, body)
    assert intents.read_copy(state) == SAID


def test_the_copy_is_written_once_for_all_that_is_said_together(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds every domain: written anew for each of a thousand it took most of their stop."""
    written: list[Path] = []
    really = intents.write_whole

    def count(path: Path, content: bytes, mode: int) -> None:
        written.append(path)
        really(path, content, mode)

    names = [f"d{number}" for number in range(50)]
    meant = [MEANT._replace(domain=name, name=name) for name in names]
    holds = [HOLD._replace(domain=name, name=name) for name in names]

    async def body(journal: Journal) -> None:
        monkeypatch.setattr(intents, "write_whole", count)
        await journal.intend(*meant)
        assert len(written) == 1
        await journal.hold(*holds)
        assert len(written) == 2
        run = await journal.begin(Direction.UP, "boot", AT)
        await journal.record(run, Transition("d1", None, 4, Phase.ABSENT, Phase.CREATING, "", AT))
        await journal.intend()
        assert len(written) == 2, "who says nothing of intent costs it nothing"

    with_journal(state, body)
    kept = intents.read_copy(state)
    assert kept == Intents(
        {"web": MEANT, **{one.domain: one for one in meant}},
        {"db": HOLD, **{one.domain: one for one in holds}},
    )


def test_a_hold_whose_copy_cannot_be_written_is_no_hold(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(journal: Journal) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(intents, "write_whole", full)
        with pytest.raises(JournalError, match=r"intent\.json, cannot be written: No space"):
            await journal.hold(HOLD._replace(domain="web"))
        assert journal.intents() == SAID
        monkeypatch.undo()
        await journal.hold(HOLD._replace(domain="web"))
        assert set(journal.intents().holds) == {"db", "web"}

    with_journal(state, body)


def test_a_commit_that_fails_leaves_a_copy_that_the_next_opening_mends(state: Path) -> None:
    async def body(journal: Journal) -> None:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="full"):
            await journal.hold(HOLD._replace(domain="web", reason="x" * 100_000))

    with_journal(state, body)
    intents.write_copy(state, Intents())
    with_journal(state, look)
    assert intents.read_copy(state) == SAID, "the journal wins where there is one"


def test_damage_that_comes_later_costs_the_record_and_the_next_opening_finds_it(
    state: Path,
) -> None:
    async def body(journal: Journal) -> None:
        journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal._connection.execute("PRAGMA cache_size = 0")
        tear_everything(state / FILE_NAME)
        with pytest.raises(JournalDamaged) as caught:
            await journal.begin(Direction.DOWN, "boot", AT)
        assert "the next lamplighter up or down keeps it aside" in caught.value.hint

    with_journal(state, body)
    with_journal(state, look)
    assert asides(state)


def tear_everything(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


# --- what is not ours to touch ---------------------------------------------------------------


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 99", "PRAGMA application_id = 7"])
def test_what_is_not_this_versions_is_left_as_it_is(state: Path, statement: str) -> None:
    with closing(sqlite3.connect(state / FILE_NAME)) as other:
        other.execute(statement)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (state / FILE_NAME).read_bytes()
    for open_it in (Journal.open, JournalReader):
        with pytest.raises(JournalForeign):
            open_it(state)
    assert (state / FILE_NAME).read_bytes() == before
    assert asides(state) == []


def test_threads_of_one_process_hold_each_other_up_only_for_a_commit(state: Path) -> None:
    """A hold is said beside a run: both write the copy, and none loses the other's word."""

    async def story() -> None:
        one, two = Journal.open(state), Journal.open(state)
        holds = [HOLD._replace(domain=f"d{number}") for number in range(20)]
        await asyncio.gather(*((one, two)[n % 2].hold(hold) for n, hold in enumerate(holds)))
        assert intents.read_copy(state) == one.intents()
        assert len(one.intents().holds) == 21
        await one.close()
        await two.close()

    asyncio.run(story())
