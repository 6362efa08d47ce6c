"""What the journal tells of runs that never ended, of failed starts, and of past holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import JournalDamaged
from lamplighter.host.journal import database, writer
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, PastHold
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome, Result, Transition
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

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


def test_who_held_a_domain_and_who_let_it_go_is_kept(tmp_path: Path) -> None:
    again = HOLD._replace(reason="disk still broken", at=LATER)

    async def body(journal: Journal) -> None:
        await journal.record_holds(HOLD)
        await journal.record_holds(again)
        await journal.record_release(str(WEB), "bert", LATER)
        await journal.record_release(str(WEB), "carl", LATER + timedelta(hours=1))
        await journal.record_holds(HOLD)

    reader = write(tmp_path, body)
    assert reader.holds("web") == [PastHold(HOLD), PastHold(again, LATER, "bert")]
    assert reader.holds(str(WEB).upper()) == reader.holds("web")
    assert reader.holds("db") == []


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
        assert JournalReader(tmp_path).unfinished()[0].moved == ()
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


def test_a_release_lets_them_be_counted_again(tmp_path: Path) -> None:
    async def body(journal: Journal) -> None:
        for minutes in (0, 1, 9):
            if minutes == 9:
                await journal.record_holds(HOLD)
                await journal.record_release(str(WEB), "anna", LATER)
            run = await journal.begin(Direction.UP, "boot", AT)
            await journal.record(run, moved(Phase.CREATING, None))
            result = Result("web", WEB, None, Outcome.FAILED, note=f"after {minutes} min")
            await journal.settle(run, result, AT + timedelta(minutes=minutes))

    reader = write(tmp_path, body)
    assert [note for _, note in reader.failed_starts("web", WEB)] == ["after 9 min"]


def test_history_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old runs go, and those beyond the newest so many; one that has not ended is kept."""
    monkeypatch.setattr(writer, "RUNS_KEPT", 4)

    async def body(journal: Journal) -> None:
        await journal.begin(Direction.UP, "boot", AT)  # it died
        for hours in range(1, 9):
            at = AT + timedelta(hours=hours)
            run = await journal.begin(Direction.UP, "boot", at)
            await journal.record(run, moved(Phase.CREATING))
            await journal.settle(run, Result("web", WEB, 4, Outcome.STARTED), at)
            await journal.finish(run, at, 0)
        await journal.record_holds(HOLD)
        await journal.record_release(str(WEB), "anna", AT)
        await journal.tidy(AT)
        await journal.record_holds(HOLD)
        await journal.record_release(str(WEB), "bert", LATER)

    reader = write(tmp_path, body)
    assert [run.id for run in reader.runs()] == [9, 8, 7, 6, 1]
    assert len(reader.transitions(6)) == 1
    assert reader.transitions(5) == []
    assert [past.released_by for past in reader.holds("web")] == ["bert", "anna"]

    async def later(journal: Journal) -> None:
        await journal.tidy(AT + timedelta(hours=7, minutes=30))

    reader = write(tmp_path, later)
    assert [run.id for run in reader.runs()] == [9, 8, 7, 6, 1], "a clock may be wrong in a boot"
    assert reader.holds("web") == []

    async def in_the_next_boot(journal: Journal) -> None:
        await journal.begin(Direction.UP, "next", AT)
        await journal.tidy(AT + timedelta(hours=7, minutes=30))

    assert [run.id for run in write(tmp_path, in_the_next_boot).runs()] == [10, 9, 1]


def test_a_large_one_is_checked_at_the_end_of_a_run_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Path] = []

    def check(_: object, path: Path) -> None:
        checked.append(path)

    monkeypatch.setattr(writer, "check_whole", check)
    monkeypatch.setattr(database, "check_whole", check)

    async def body(journal: Journal) -> None:
        await journal.tidy(AT)

    write(tmp_path, body)
    assert len(checked) == 1, "when it was opened"
    for module in (writer, database):
        monkeypatch.setattr(module, "SMALL", 0)
    write(tmp_path, body)
    assert len(checked) == 2, "when it was tidied"


def test_a_large_one_that_is_damaged_is_put_aside_at_the_end_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (writer, database):
        monkeypatch.setattr(module, "SMALL", 0)

    async def body(journal: Journal) -> None:
        run = await journal.begin(Direction.UP, "boot", AT)
        for number in range(200):
            await journal.record(run, moved(Phase.CREATING, name=f"d{number}" + "x" * 100))
        await journal.finish(run, AT, 0)

    write(tmp_path, body).close()
    path = tmp_path / "state.db"
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = b"\xff" * 4096
    path.write_bytes(content)

    async def later(journal: Journal) -> None:
        with pytest.raises(JournalDamaged, match="it is kept as"):
            await journal.tidy(AT - timedelta(days=1))

    assert write(tmp_path, later).runs() == []


@pytest.mark.parametrize("boots", [1, 200])
@pytest.mark.parametrize("runs", [10, 200])
def test_what_a_run_reads_before_it_begins_does_not_grow_with_the_history(
    tmp_path: Path, runs: int, boots: int
) -> None:
    async def body(journal: Journal) -> None:
        for number in range(runs):
            run = await journal.begin(Direction.UP, f"boot-{number % boots}", AT)
            await journal.record(run, moved(Phase.CREATING))
            await journal.settle(run, Result("web", WEB, 4, Outcome.STARTED), AT)
            await journal.finish(run, AT, 0)

    reader = write(tmp_path, body)
    steps: list[int] = []
    assert reader._connection is not None
    reader._connection.set_progress_handler(lambda: steps.append(1), 10)
    assert reader.unfinished() == []
    assert len(reader.last_records(f"boot-{(runs - 1) % boots}")) == 1
    assert len(steps) < 100, len(steps)
