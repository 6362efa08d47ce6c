"""Reading the journal, beside whoever writes it.

Each question is one read transaction of its own, or all within one ``moment``, so a run that goes
on meanwhile is never held up and every answer is whole.

Rows may be of domains that nobody knows any more, so the rows of a domain are those with the name
or UUID that is given, compared as ``engine/naming.means`` compares them.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from lamplighter.engine.naming import uuid_text
from lamplighter.errors import JournalError
from lamplighter.host.journal.database import check_whole, journal_error, open_reader
from lamplighter.host.journal.intents import Evidence, find_evidence
from lamplighter.host.journal.schema import FILE_NAME
from lamplighter.model.intent import Hold, PastHold
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import (
    Direction,
    LastRecord,
    Outcome,
    Result,
    Run,
    Transition,
    UnfinishedRun,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")
Row = tuple[object, ...]

_TRANSITION = "t.name, t.uuid, t.domid, t.before, t.after, t.detail, t.at"
_RESULT = "s.name, s.uuid, s.domid, s.outcome, s.seconds, s.note, s.good"


class JournalReader:
    """The past, for ``history`` and ``status``. A journal nobody wrote yet has no past."""

    def __init__(self, directory: Path) -> None:
        """Open the journal in this directory; raise ``JournalError`` when it cannot be read."""
        self._path = directory / FILE_NAME
        self._connection = open_reader(directory)

    def runs(self, *, limit: int = 20, name: str | None = None) -> list[Run]:
        """Return the newest runs first, each with its results.

        With a domain's name or UUID: only runs it had a part in, with its own results alone.
        """
        mine = "" if name is None else "(s.name = :name OR s.uuid = :uuid)"
        chosen = "" if name is None else (
            f"WHERE id IN (SELECT run FROM result s WHERE {mine} "
            f"UNION SELECT run FROM transition s WHERE {mine})"
        )  # fmt: skip
        rows = self._ask(
            "SELECT r.id, r.direction, r.boot_id, r.started, r.ended, r.exit, "
            f"{_RESULT} FROM (SELECT * FROM run {chosen} ORDER BY id DESC LIMIT :limit) r "
            f"LEFT JOIN result s ON s.run = r.id {mine and f'AND {mine}'} "
            "ORDER BY r.id DESC, s.name, s.id",
            {**_named(name), "limit": limit},
        )
        return self._parse(_runs, rows)

    def transitions(self, run: int, name: str | None = None) -> list[Transition]:
        """Return the transitions of a run in the order in which they were written."""
        rows = self._ask(
            f"SELECT {_TRANSITION} FROM transition t WHERE t.run = :run "
            "AND (:name IS NULL OR t.name = :name OR t.uuid = :uuid) ORDER BY t.id",
            {**_named(name), "run": run},
        )
        return self._parse(lambda found: [_transition(row) for row in found], rows)

    def last_records(self, boot_id: str) -> dict[str, LastRecord]:
        """Return by name what was last written of each domain since this boot of the host."""
        # The newest row of each name, found by the index; CROSS JOIN has SQLite begin there, and
        # not with all runs of the boot. So the history is not read for it.
        newest = (
            "IN (WITH RECURSIVE named(name) AS (SELECT min(name) FROM {table} UNION ALL "
            "SELECT (SELECT min(name) FROM {table} WHERE name > named.name) FROM named "
            "WHERE named.name IS NOT NULL) "
            "SELECT (SELECT max(id) FROM {table} WHERE name = named.name) FROM named)"
        )
        moved = self._ask(
            f"SELECT {_TRANSITION} FROM transition t CROSS JOIN run r ON r.id = t.run "
            f"WHERE r.boot_id = :boot AND t.id {newest.format(table='transition')}",
            {"boot": boot_id},
        )
        settled = self._ask(
            f"SELECT {_RESULT}, s.at, r.direction FROM result s CROSS JOIN run r ON r.id = s.run "
            f"WHERE r.boot_id = :boot AND s.id {newest.format(table='result')}",
            {"boot": boot_id},
        )
        return self._parse(lambda rows: _last_records(rows, settled), moved)

    def evidence(self) -> Evidence | None:
        """Return what this journal shows of intents; None: there is no journal yet."""
        if self._connection is None:
            return None
        return find_evidence(self._path.parent, self._connection)

    def check(self) -> None:
        """Look the whole database through, as a run does before it writes; ``JournalDamaged``."""
        if self._connection is None:
            return
        try:
            check_whole(self._connection, self._path)
        except sqlite3.Error as error:
            raise journal_error(error, self._path, "read") from error

    def moves(self, boot_id: str) -> dict[int, Transition]:
        """Return by domid what was last written of each incarnation since this boot."""
        rows = self._ask(
            f"SELECT {_TRANSITION} FROM transition t WHERE t.id IN (SELECT max(n.id) "
            "FROM transition n JOIN run r ON r.id = n.run "
            "WHERE r.boot_id = :boot AND n.domid IS NOT NULL GROUP BY n.domid)",
            {"boot": boot_id},
        )
        found = self._parse(lambda rows: [_transition(row) for row in rows], rows)
        return {moved.domid: moved for moved in found if moved.domid is not None}

    def holds(self, name: str) -> list[PastHold]:
        """Return the holds that there were on a domain, by its name or key, the newest first.

        What is held now is in ``intent.json``; of that, this says only when it was recorded.
        """
        # Version 2 had those in force there, too; version 1 has neither table.
        table = next((one for one in ("past_hold", "hold") if self._has(one)), None)
        if table is None:
            return []
        rows = self._ask(
            f"SELECT domain, name, reason, said_by, at, released, released_by FROM {table} "
            "WHERE name = :name OR (domain = :uuid AND domain <> name) ORDER BY id DESC",
            _named(name),
        )
        return self._parse(
            lambda found: [
                PastHold(
                    Hold(str(row[0]), str(row[1]), str(row[2]), str(row[3]), _at(row[4])),
                    None if row[5] is None else _at(row[5]),
                    "" if row[6] is None else str(row[6]),
                )
                for row in found
            ],
            rows,
        )

    def unfinished(self) -> list[UnfinishedRun]:
        """Return the runs that have not ended, the oldest first, and where their domains stand.

        One of them may be under way. Whoever holds the host's lock knows that they are all dead.
        """
        runs = self._ask(
            "SELECT id, direction, boot_id, started, ended, exit, NULL FROM run "
            "WHERE ended IS NULL ORDER BY id",
            {},
        )
        newest = (
            f"SELECT {_TRANSITION} FROM transition t WHERE t.id IN (SELECT max(id) FROM transition "
            "WHERE run = :run GROUP BY name) AND NOT EXISTS (SELECT 1 FROM result s "
            "WHERE s.run = :run AND s.name = t.name AND s.domid IS t.domid) ORDER BY t.id"
        )
        return [
            UnfinishedRun(
                run,
                self._parse(
                    lambda rows: tuple(_transition(row) for row in rows),
                    self._ask(newest, {"run": run.id}),
                ),
            )
            for run in self._parse(_runs, runs)
        ]

    def failed_starts(self, name: str, uuid: UUID | None) -> list[tuple[datetime, str]]:
        """Return when, and why, each start of a domain failed since one succeeded, newest first.

        A start that was only planned, such as one of a barred domain, was not tried and does not
        count; nor does what was before the domain was last released. At most a hundred.
        """
        rows = self._ask(
            "SELECT s.at, s.note, s.outcome FROM result s JOIN run r ON r.id = s.run "
            "WHERE r.direction = 'up' "
            "AND (s.uuid = :uuid OR (s.uuid IS NULL OR :uuid IS NULL) AND s.name = :name) "
            "AND (s.outcome IN ('started', 'already') OR s.outcome = 'failed' AND EXISTS "
            "(SELECT 1 FROM transition t WHERE t.run = s.run AND t.name = s.name "
            "AND t.after = 'creating')) ORDER BY s.id DESC LIMIT 100",
            {"name": name, "uuid": None if uuid is None else str(uuid)},
        )
        keys = {name} if uuid is None else {name, str(uuid)}
        let_go = [past.released for past in self.holds(name) if past.hold.domain in keys]
        since = max((at for at in let_go if at is not None), default=None)
        failed: list[tuple[datetime, str]] = []
        for row in rows:
            if row[2] != "failed" or (since is not None and _at(row[0]) <= since):
                break
            failed.append((_at(row[0]), str(row[1])))
        return failed

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Have every answer of the block be of one moment; raise ``JournalError``."""
        self._ask("BEGIN", {})
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self, question: str, values: Mapping[str, object]) -> list[Row]:
        if self._connection is None:
            # Nothing was written when this was opened; by now it may have been.
            self._connection = open_reader(self._path.parent)
        if self._connection is None:
            return []
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise journal_error(error, self._path, "read") from error

    def _has(self, table: str) -> bool:
        return bool(
            self._ask(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :table",
                {"table": table},
            )
        )

    def _parse(self, parse: Callable[[list[Row]], T], rows: list[Row]) -> T:
        try:
            return parse(rows)
        except ValueError as error:
            raise JournalError(
                f"the journal {self._path} holds something this version does not know: {error}",
                hint="it was written by another version, or is damaged",
            ) from error


def _named(name: str | None) -> dict[str, object]:
    """Return the values that a domain's name or UUID is compared by; all NULL for any domain."""
    return {"name": name, "uuid": None if name is None else uuid_text(name)}


def _runs(rows: list[Row]) -> list[Run]:
    runs: dict[int, Run] = {}
    results: dict[int, list[Result]] = {}
    for row in rows:
        key = _int(row[0])
        if key not in runs:
            runs[key] = Run(
                key,
                Direction(row[1]),
                str(row[2]),
                _at(row[3]),
                None if row[4] is None else _at(row[4]),
                None if row[5] is None else _int(row[5]),
            )
        if row[6] is not None:
            results.setdefault(key, []).append(_result(row[6:]))
    return [run._replace(results=tuple(results.get(key, ()))) for key, run in runs.items()]


def _last_records(moved: list[Row], settled: list[Row]) -> dict[str, LastRecord]:
    records = {t.name: LastRecord(t.name, moved=t) for t in map(_transition, moved)}
    for row in settled:
        result = _result(row[:7])
        records[result.name] = records.get(result.name, LastRecord(result.name))._replace(
            result=result,
            direction=Direction(row[8]),
            settled=_at(row[7]),
        )
    return records


def _transition(row: Row) -> Transition:
    name, uuid, domid, before, after, detail, at = row
    return Transition(
        str(name),
        _uuid(uuid),
        None if domid is None else _int(domid),
        Phase(before),
        Phase(after),
        str(detail),
        _at(at),
    )


def _result(row: Row) -> Result:
    name, uuid, domid, outcome, seconds, note, good = row
    return Result(
        str(name),
        _uuid(uuid),
        None if domid is None else _int(domid),
        Outcome(outcome),
        float(str(seconds)),
        str(note),
        good=bool(good),
    )


def _int(value: object) -> int:
    return int(str(value))


def _uuid(value: object) -> UUID | None:
    return None if value is None else UUID(str(value))


def _at(value: object) -> datetime:
    return datetime.fromisoformat(str(value))
