"""The monitor's event log: what was written is read, whatever else is in the file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import to_line
from lamplighter.host.event_log import (
    FILE_NAME,
    LINE_MAX,
    OLDER_FILE_NAME,
    EventLog,
    read_event_log,
)
from lamplighter.model.domain_event import Change, DomainEvent, Initiator

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def domain_event(domid: int) -> DomainEvent:
    return DomainEvent(
        Change.CAME, "web", UUID(int=1), domid, Initiator.TOOL, "another tool", AT, "boot"
    )


def read(folder: Path) -> list[int]:
    return [one.domid for one in read_event_log(folder)]


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert read(state) == []
    event_log = EventLog(state)
    event_log.write([domain_event(1), domain_event(2)])
    event_log.write([])
    event_log.write([domain_event(3)])
    assert read(state) == [1, 2, 3]
    assert (state / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


def test_every_prefix_that_a_crash_may_leave_costs_no_more_than_its_last_line(
    tmp_path: Path,
) -> None:
    whole = to_line(domain_event(1)) + to_line(domain_event(2))
    first = len(to_line(domain_event(1)))
    for cut in range(len(whole) + 1):
        (tmp_path / FILE_NAME).write_bytes(whole[:cut])
        EventLog(tmp_path).write([domain_event(3)])
        kept = read(tmp_path)
        assert kept[-1] == 3
        # A line is whole without its end, too.
        assert kept[:-1] == [1, 2][: (cut >= first - 1) + (cut >= len(whole) - 1)]


def test_what_is_no_line_of_ours_is_passed_over(tmp_path: Path) -> None:
    noise = b"\0" * 5000 + b"\n" + b"{}\n" + b"x" * 3 * LINE_MAX + b"\n"
    lines = to_line(domain_event(1)) + noise + to_line(domain_event(2))
    (tmp_path / FILE_NAME).write_bytes(lines)
    assert read(tmp_path) == [1, 2]


def test_it_is_kept_to_two_files_of_a_length(tmp_path: Path) -> None:
    line = len(to_line(domain_event(1)))
    event_log = EventLog(tmp_path, longest=3 * line)
    for domid in range(1, 10):
        event_log.write([domain_event(domid)])
    assert read(tmp_path) == [5, 6, 7, 8, 9]
    assert {one.name for one in tmp_path.iterdir()} == {FILE_NAME, OLDER_FILE_NAME}


def test_one_that_cannot_be_written_or_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(JournalError, match=r"logbook\.jsonl cannot be written"):
        EventLog(tmp_path).write([domain_event(1)])
    with pytest.raises(JournalError, match=r"logbook\.jsonl cannot be read"):
        list(read_event_log(tmp_path))


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / FILE_NAME).symlink_to(elsewhere)
    with pytest.raises(JournalError):
        EventLog(tmp_path).write([domain_event(1)])
    assert elsewhere.read_bytes() == b""


def test_a_new_file_begins_with_what_is_to_be_kept(tmp_path: Path) -> None:
    line = len(to_line(domain_event(1)))
    event_log = EventLog(tmp_path, longest=3 * line)
    kept = [domain_event(100), domain_event(101)]
    for domid in range(1, 20):
        event_log.write([domain_event(domid)], kept)
    assert {19, 100, 101} <= set(read(tmp_path))
