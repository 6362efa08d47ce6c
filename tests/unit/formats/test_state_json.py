"""Passages as lines and documents, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.formats.state_json import from_line, to_line, watched_from_json, watched_to_json
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, MonitorState

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

PASSAGES = st.builds(
    DomainEvent,
    st.sampled_from(Change),
    st.text(st.characters(exclude_categories=())),
    st.uuids(),
    st.integers(0, 2**16),
    st.sampled_from(Initiator),
    st.text(),
    st.datetimes(timezones=st.just(UTC)),
    st.text(),
    st.none() | st.sampled_from(ShutdownReason),
)


@given(PASSAGES)
def test_a_line_has_the_event(domain_event: DomainEvent) -> None:
    line = to_line(domain_event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == domain_event


@given(st.binary() | st.text().map(lambda text: json.dumps(text).encode()))
def test_anything_else_is_no_passage(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a domain event"):
        from_line(line)


@given(st.data())
def test_a_passage_with_something_missing_or_wrong_is_none(data: st.DataObject) -> None:
    domain_event = DomainEvent(
        Change.CAME, "web", UUID(int=1), 4, Initiator.TOOL, "why", AT, "boot"
    )
    entry = json.loads(to_line(domain_event))
    key = data.draw(st.sampled_from(sorted(set(entry) - {"name", "why", "boot_id", "end"})))
    entry[key] = data.draw(st.sampled_from(["nonsense", None, [], {}]))
    with pytest.raises(ValueError, match="not a domain event"):
        from_line(json.dumps(entry).encode())


def test_a_line_that_is_nested_without_end_is_no_passage() -> None:
    with pytest.raises(ValueError, match="not a domain event"):
        from_line(b"[" * 10_000)


@given(st.lists(PASSAGES, max_size=3), st.none() | st.just(AT), st.text())
def test_what_a_monitor_serves(
    domain_events: list[DomainEvent], looked: datetime | None, why: str
) -> None:
    watched = MonitorState("boot", AT, looked, why, tuple(domain_events))
    assert watched_from_json(json.loads(json.dumps(watched_to_json(watched)))) == watched


@pytest.mark.parametrize("value", [None, [], {}, {"boot_id": "b"}, "text", 7])
def test_anything_else_is_not_a_monitors_state(value: object) -> None:
    with pytest.raises(ValueError, match="not a monitor"):
        watched_from_json(value)
