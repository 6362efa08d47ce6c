"""Intents, holds and loose ends in the journal; and journals of a version that knew none."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import APPLICATION_ID, FILE_NAME, MIGRATIONS
from lamplighter.host.journal.writer import Journal
from lamplighter.model.domain import Definition, Kind
from lamplighter.model.intent import Hold, Intent, Intents, Meant, PastHold
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from lamplighter.host.journal.intents import Row

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)
WEB = UUID(int=1)
HOLD = Hold(str(WEB), "web", "disk broken", "anna", AT)


def write(directory: Path, body: Callable[[Journal], Awaitable[None]]) -> JournalReader:
    async def main() -> None:
        journal = Journal.open(directory, threaded=False)
        try:
            await body(journal)
        finally:
            await journal.close()

    virtual.run(main())
    return JournalReader(directory)


def moved(after: Phase, domid: int | None = 4, name: str = "web") -> Transition:
    return Transition(name, WEB, domid, Phase.UP, after, "", AT)


def test_an_intent_replaces_the_one_before(tmp_path: Path) -> None:
    first = Intent(str(WEB), "web", Meant.UP, "asked", "anna", AT, "boot", 4)
    second = first._replace(meant=Meant.DOWN, domid=None, at=LATER)

    async def body(journal: Journal) -> None:
        await journal.intend(first)
        assert journal.intents() == Intents({str(WEB): first})
        await journal.intend(second)

    assert write(tmp_path, body).intents() == Intents({str(WEB): second})


def test_a_hold_lasts_until_it_is_released_and_is_kept_for_its_history(tmp_path: Path) -> None:
    again = HOLD._replace(reason="disk still broken", at=LATER)

    async def body(journal: Journal) -> None:
        await journal.hold(HOLD)
        assert journal.intents().holds == {str(WEB): HOLD}
        await journal.hold(again)
        assert journal.intents().holds == {str(WEB): again}
        await journal.release(str(WEB), "bert", LATER)
        assert journal.intents().holds == {}
        await journal.release(str(WEB), "carl", LATER + timedelta(hours=1))
        await journal.hold(HOLD)

    reader = write(tmp_path, body)
    assert reader.holds("web") == [PastHold(HOLD), PastHold(again, LATER, "bert")]
    assert reader.holds(str(WEB).upper()) == reader.holds("web")
    assert reader.holds("db") == []
    assert reader.holds_in_force() == [PastHold(HOLD)]


@pytest.mark.parametrize("key", [str(WEB), "web"])
def test_the_hold_on_one_domain_is_found_under_its_uuid_or_its_name(
    tmp_path: Path, key: str
) -> None:
    web = Definition("web", WEB, Kind.PV, "/etc/xen/web.cfg")
    others = [web._replace(name="db", uuid=UUID(int=2)), web._replace(name="no\udcff", uuid=None)]

    async def body(journal: Journal) -> None:
        assert journal.hold_of(web) is None
        await journal.hold(HOLD._replace(domain=key))
        assert journal.hold_of(web) == HOLD._replace(domain=key)
        assert [journal.hold_of(other) for other in others] == [None, None]
        await journal.release(key, "bert", LATER)
        assert journal.hold_of(web) is None

    write(tmp_path, body)


def test_to_ask_for_one_hold_is_to_look_at_no_other(tmp_path: Path) -> None:
    """A run asks before each create: what grows with the holds, too, grows as their square."""
    web = Definition("web", WEB, Kind.PV, "/etc/xen/web.cfg")

    async def body(journal: Journal) -> None:
        await journal.hold(*(HOLD._replace(domain=f"d{number}") for number in range(100)))

    reader = write(tmp_path, body)
    assert reader._connection is not None
    rows: list[Row] = []
    asked: list[str] = []
    reader._connection.set_trace_callback(asked.append)
    reader.hold_of(web)
    reader._connection.set_trace_callback(None)
    for question in asked:
        rows += reader._connection.execute(f"EXPLAIN QUERY PLAN {question}").fetchall()
    assert [row[3] for row in rows if "hold" in str(row[3])] == [
        "SEARCH hold USING INDEX hold_in_force (domain=?)"
    ]


def test_a_run_that_never_ended_shows_where_it_left_its_domains(tmp_path: Path) -> None:
    async def body(journal: Journal) -> None:
        whole = await journal.begin(Direction.UP, "boot", AT)
        await journal.record(whole, moved(Phase.CREATING, None))
        await journal.finish(whole, LATER, 0)
        dead = await journal.begin(Direction.DOWN, "boot", AT)
        for phase in (Phase.ASKED, Phase.ACKNOWLEDGED):
            await journal.record(dead, moved(phase))
        await journal.record(dead, moved(Phase.ASKED, 5, "db"))
        await journal.settle(dead, Result("db", WEB, 5, Outcome.CLEAN), LATER)

    reader = write(tmp_path, body)
    (end,) = reader.unfinished()
    assert (end.run.id, end.run.direction, end.run.ended) == (2, Direction.DOWN, None)
    assert end.moved == (moved(Phase.ACKNOWLEDGED),)

    async def close(journal: Journal) -> None:
        await journal.settle(2, Result("web", WEB, 4, Outcome.UNKNOWN), LATER)
        assert journal.unfinished()[0].moved == ()
        await journal.close_dead(2, LATER)

    assert write(tmp_path, close).unfinished() == []
    (newest, _) = reader.runs()
    assert (newest.ended, newest.exit) == (LATER, None)


@pytest.mark.parametrize("uuid", [WEB, None])
def test_failed_starts_are_those_that_were_tried_in_a_row(
    tmp_path: Path, uuid: UUID | None
) -> None:
    async def body(journal: Journal) -> None:
        for outcome, minutes, tried in (
            (Outcome.FAILED, 0, True),
            (Outcome.STARTED, 1, True),
            (Outcome.FAILED, 2, True),
            (Outcome.SKIPPED, 3, False),
            (Outcome.FAILED, 4, False),
            (Outcome.FAILED, 5, True),
        ):
            run = await journal.begin(Direction.UP, "boot", AT)
            if tried:
                await journal.record(run, moved(Phase.CREATING, None))
            result = Result("web", WEB, None, outcome, note=f"after {minutes} min")
            await journal.settle(run, result, AT + timedelta(minutes=minutes))

    reader = write(tmp_path, body)
    assert [note for _, note in reader.failed_starts("web", uuid)] == ["after 5 min", "after 2 min"]
    assert reader.failed_starts("db", UUID(int=2)) == []


def test_a_release_lets_them_be_counted_anew(tmp_path: Path) -> None:
    async def body(journal: Journal) -> None:
        for minutes in (0, 1, 9):
            if minutes == 9:
                await journal.hold(HOLD)
                await journal.release(str(WEB), "anna", LATER)
            run = await journal.begin(Direction.UP, "boot", AT)
            await journal.record(run, moved(Phase.CREATING, None))
            result = Result("web", WEB, None, Outcome.FAILED, note=f"after {minutes} min")
            await journal.settle(run, result, AT + timedelta(minutes=minutes))

    reader = write(tmp_path, body)
    assert [note for _, note in reader.failed_starts("web", WEB)] == ["after 9 min"]


def version_1(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    return connection


def test_a_reader_of_a_version_1_journal_knows_of_no_intent(tmp_path: Path) -> None:
    version_1(tmp_path).close()
    reader = JournalReader(tmp_path)
    assert reader.intents() == Intents()
    assert reader.holds("web") == []
    assert reader.failed_starts("web", WEB) == []
    assert reader.unfinished() == []


def test_what_version_1_kept_as_intent_is_carried_over(tmp_path: Path) -> None:
    connection = version_1(tmp_path)
    for domain, wanted in ((str(WEB), "held"), ("db", "up"), ("mail", "down")):
        connection.execute(
            "INSERT INTO intent VALUES (?, ?, 'why', 'anna', ?)", (domain, wanted, AT.isoformat())
        )
    connection.close()

    async def nothing(journal: Journal) -> None:
        assert journal.unfinished() == []

    intents = write(tmp_path, nothing).intents()
    assert intents.holds == {str(WEB): Hold(str(WEB), str(WEB), "why", "anna", AT)}
    assert {key: one.meant for key, one in intents.meant.items()} == {
        "db": Meant.UP,
        "mail": Meant.DOWN,
    }
