"""The copy of intents and holds, as text: the same again, or an error; never half of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.formats.state_json import format_intents, parse_intents
from lamplighter.model.intent import Hold, Intent, Intents, Meant

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
SAID = Intents(
    {"web": Intent("web", "web", Meant.UP, "asked", "anna", AT, "boot", 4)},
    {"db": Hold("db", "db", "disk 3 is broken", "carl", AT)},
    number=1,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.datetimes(timezones=st.just(UTC))
intents = st.builds(
    Intent,
    texts,
    texts,
    st.sampled_from(Meant),
    texts,
    texts,
    moments,
    texts,
    st.none() | st.integers(0, 9999),
)
holds = st.builds(Hold, texts, texts, texts, texts, moments)


@given(st.lists(intents, max_size=4), st.lists(holds, max_size=4))
def test_what_was_written_is_read(meant: list[Intent], held: list[Hold]) -> None:
    said = Intents({one.domain: one for one in meant}, {one.domain: one for one in held}, number=7)
    assert parse_intents(format_intents(said)) == said


@pytest.mark.parametrize("length", range(0, len(format_intents(SAID)) - 2, 7))
def test_half_of_it_is_none_of_it(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_intents(format_intents(SAID)[:length])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 3}, "it has version 3, this Lamplighter knows 2"),
        ({"holds": None}, "it is not what was written"),
        ({"holds": [{"domain": "db"}]}, "it is not what was written"),
        ({"intents": "web"}, "it is not what was written"),
    ],
)
def test_what_another_version_or_hand_wrote_is_not_guessed_at(
    change: dict[str, object], told: str
) -> None:
    document = json.loads(format_intents(SAID)) | change
    with pytest.raises(ValueError, match=told):
        parse_intents(json.dumps(document))


@pytest.mark.parametrize("text", ["[]", "7", "null", '"x"', "[" * 100_000])
def test_other_json_is_an_error_as_well(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_intents(text)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reason", 7, "reason is not a string"),
        ("meant", None, "meant is not a string"),
        ("domid", "7", "domid is not a whole number"),
        ("domid", True, "domid is not a whole number"),
        ("at", "yesterday", "yesterday"),
    ],
)
def test_values_of_another_kind_are_an_error(key: str, value: object, message: str) -> None:
    document = json.loads(format_intents(SAID))
    document["intents"][0][key] = value
    with pytest.raises(ValueError, match=message):
        parse_intents(json.dumps(document))


@pytest.mark.parametrize("key", ["domain", "name", "reason", "said_by", "at"])
def test_a_value_that_is_missing_is_named(key: str) -> None:
    document = json.loads(format_intents(SAID))
    del document["holds"][0][key]
    with pytest.raises(ValueError, match=rf"it is not what was written \({key} is missing\)"):
        parse_intents(json.dumps(document))
