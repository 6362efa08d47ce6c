"""A journal that is damaged or gone is begun again, and costs no intent and no hold."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import JournalDamaged, JournalError, JournalForeign
from lamplighter.host import lock
from lamplighter.host.journal import database
from lamplighter.host.journal.database import open_writer
from lamplighter.host.journal.intent_file import FILE_NAME as INTENTS
from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import FILE_NAME
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Transition
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Damage = Callable[[Path], None]

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOLD = Hold("db", "db", "disk 3 is broken", "carl", AT)
MEANT = Intent("web", "web", Meant.UP, "asked", "anna", AT, "boot", 4)
SAID = Intents({"web": MEANT}, {"db": HOLD}, number=3)
GARBAGE = b"this is not a database" * 400


def with_journal(directory: Path, body: Callable[[Journal], Awaitable[None]]) -> None:
    """Open the journal and do something with it."""

    async def story() -> None:
        journal = Journal.open(directory, threaded=False)
        try:
            await body(journal)
        finally:
            await journal.close()

    virtual.run(story())


async def fill(journal: Journal) -> None:
    run = await journal.begin(Direction.UP, "boot", AT)
    for number in range(200):
        name, detail = f"web-{number}", "x" * 200
        move = Transition(name, None, 4, Phase.ABSENT, Phase.CREATING, detail, AT)
        await journal.record(run, move)


async def look(_: Journal) -> None:
    """Open it, and no more."""


def say(directory: Path) -> None:
    async def main() -> None:
        store = IntentStore(directory, CLOCK)
        await store.hold(HOLD)
        await store.intend(MEANT)

    virtual.run(main())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    virtual.run(IntentStore(tmp_path, CLOCK).settle())
    with_journal(tmp_path, fill)
    say(tmp_path)
    return tmp_path


def asides(directory: Path) -> list[str]:
    """The databases that were kept aside, without what SQLite keeps beside one."""
    names = sorted(path.name for path in directory.glob(f"{FILE_NAME}.damaged-*"))
    return [name for name in names if not name.endswith(("-wal", "-shm"))]


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
def test_it_is_kept_aside_and_begun_again(
    state: Path, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    damage(state / FILE_NAME)
    damaged = (state / FILE_NAME).read_bytes()
    with_journal(state, look)
    (name,) = asides(state)
    assert re.fullmatch(rf"{FILE_NAME}\.damaged-\d{{8}}T\d{{6}}", name)
    assert (state / name).read_bytes() == damaged
    (told,) = caplog.messages
    assert str(state / name) in told
    assert "history forgets" in told
    assert load_intents(state) == SAID
    with closing(JournalReader(state)) as reader:
        assert reader.runs() == []
    with_journal(state, look)
    assert len(caplog.messages) == 1, "it is told once"


@pytest.mark.parametrize("damage", [garbage, truncate, cut_to_pieces])
def test_who_only_reads_reports_it_and_moves_nothing(state: Path, damage: Damage) -> None:
    damage(state / FILE_NAME)
    before = (state / FILE_NAME).read_bytes()
    with pytest.raises(JournalDamaged) as caught:
        JournalReader(state).runs()
    assert "the next lamplighter up or down keeps it aside" in caught.value.hint
    assert (state / FILE_NAME).read_bytes() == before
    assert asides(state) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("text", [None, b"", b'{"version": 2'])
def test_it_is_begun_again_where_intents_are_lost_too_and_they_stay_not_known(
    state: Path, damage: Damage, text: bytes | None
) -> None:
    damage(state / FILE_NAME)
    if text is None:
        (state / INTENTS).unlink()
    else:
        (state / INTENTS).write_bytes(text)
    with_journal(state, look)
    assert len(asides(state)) == 1
    with pytest.raises(JournalError, match=r"is gone|cannot be read"):
        load_intents(state)


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
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    garbage(state / FILE_NAME)
    waits = lock.fcntl.flock

    def somebody_was_faster(descriptor: int, how: int) -> None:
        monkeypatch.setattr(lock.fcntl, "flock", waits)
        open_writer(state).close()

    monkeypatch.setattr(lock.fcntl, "flock", somebody_was_faster)
    with_journal(state, look)
    assert len(caplog.messages) == 1
    assert len(asides(state)) == 1


# --- a journal that is gone ------------------------------------------------------------------


def test_a_first_start_has_nothing_to_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def settle() -> None:
        await IntentStore(tmp_path / "new" / "state", CLOCK).settle()

    virtual.run(settle())
    with_journal(tmp_path / "new" / "state", look)
    assert caplog.messages == []


@pytest.mark.parametrize("empty", [True, False])
def test_one_that_is_gone_is_begun_again(
    state: Path, caplog: pytest.LogCaptureFixture, empty: bool
) -> None:
    (state / FILE_NAME).unlink()
    if empty:
        (state / FILE_NAME).touch()
    assert load_intents(state) == SAID
    with_journal(state, look)
    (told,) = caplog.messages
    assert "is gone" in told
    assert "history forgets" in told
    with_journal(state, look)
    assert len(caplog.messages) == 1, "it is told once"


def test_a_journal_moved_away_under_a_run_is_reported(state: Path) -> None:
    async def body(journal: Journal) -> None:
        (state / FILE_NAME).rename(state / "elsewhere")
        with pytest.raises(JournalError, match="was moved or removed while it was written to"):
            await journal.begin(Direction.UP, "boot", AT)

    with_journal(state, body)


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
