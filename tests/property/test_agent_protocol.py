"""What one side writes the other reads; and whatever anybody writes, nobody is harmed by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.formats import agent_protocol
from lamplighter.formats.agent_protocol import (
    GUEST_NODES,
    NUMBERS,
    REQUESTS,
    SECONDS_MAX,
    VALUE_MAX,
    Answer,
    DeadlineNote,
    Forced,
    TimeRequest,
    describe_guest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a line may say and keep: it prints, has no blank at its ends, and fits.
TEXTS = st.text(max_size=40).map(lambda text: "".join(c for c in text if c.isprintable()).strip())
IDS = st.from_regex(r"[A-Za-z0-9]{1,16}", fullmatch=True)
SECONDS = st.integers(1, SECONDS_MAX)

#: Any bytes, and such as are nearly words.
BYTES = st.one_of(
    st.none(),
    st.binary(max_size=2 * VALUE_MAX),
    st.text(max_size=VALUE_MAX).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.builds(
        lambda head, tail: head + tail,
        st.sampled_from(
            [
                b"1 ",
                b"0 ",
                b"100 ",
                b"101 ",
                b"- ",
                b"k1 60 ",
                b"k1 0",
                b"poweroff ",
                b"k1 granted ",
            ]
        ),
        st.binary(max_size=VALUE_MAX),
    ),
)

PARSERS: tuple[Callable[[bytes | None], object], ...] = (
    agent_protocol.parse_version,
    agent_protocol.parse_ready,
    agent_protocol.parse_progress,
    agent_protocol.parse_more,
    agent_protocol.parse_forced,
    agent_protocol.parse_deadline_note,
    agent_protocol.parse_answer,
)


@given(st.booleans(), TEXTS)
def test_ready(ready: bool, waits_for: str) -> None:
    value = agent_protocol.encode_ready(ready=ready, waits_for=waits_for)
    assert agent_protocol.parse_ready(value) == (ready, "" if ready else waits_for)


@given(TEXTS.filter(bool), st.none() | st.integers(0, 100))
def test_progress(text: str, percent: int | None) -> None:
    value = agent_protocol.encode_progress(text, percent)
    assert agent_protocol.parse_progress(value) == agent_protocol.Progress(text, percent)


@given(IDS, SECONDS, TEXTS)
def test_more(name: str, seconds: int, why: str) -> None:
    more = TimeRequest(name, seconds, why)
    assert agent_protocol.parse_more(agent_protocol.encode_more(more)) == more


@given(st.sampled_from(REQUESTS), TEXTS)
def test_forced(request: str, why: str) -> None:
    forced = Forced(request, why)
    assert agent_protocol.parse_forced(agent_protocol.encode_forced(forced)) == forced


@given(st.sampled_from(REQUESTS), st.integers(0, SECONDS_MAX), st.integers(0, NUMBERS - 1))
def test_asked(request: str, seconds: int, number: int) -> None:
    asked = DeadlineNote(request, seconds, number)
    assert agent_protocol.parse_deadline_note(agent_protocol.encode_deadline_note(asked)) == asked


@given(st.binary(max_size=30), st.binary(max_size=8) | st.from_regex(rb"[0-9]{1,6}"))
@example(b"k1 granted 30", b"30")
def test_what_runs_before_have_given(answer: bytes, granted: bytes) -> None:
    given = agent_protocol.parse_grants(answer, granted)
    said = agent_protocol.parse_answer(answer)
    assert given.answered == ("" if said is None else said.id)
    assert 0 <= given.granted <= SECONDS_MAX
    if given.granted:
        assert given.granted == min(SECONDS_MAX, int(granted))
        assert agent_protocol.encode_granted(given.granted).isdigit()
    assert agent_protocol.parse_grants(None, None) == agent_protocol.NO_GRANTS


@given(IDS, st.integers(0, SECONDS_MAX))
def test_granted(name: str, left: int) -> None:
    answer = Answer(name, left)
    assert agent_protocol.parse_answer(agent_protocol.encode_answer(answer)) == answer


@given(IDS, TEXTS.filter(bool))
def test_refused(name: str, why: str) -> None:
    answer = Answer(name, None, why)
    assert agent_protocol.parse_answer(agent_protocol.encode_answer(answer)) == answer


@given(IDS, SECONDS, st.text(max_size=3 * VALUE_MAX))
@example("k1", 1, " ")
def test_whatever_is_to_be_said_becomes_a_word(name: str, seconds: int, text: str) -> None:
    """Who writes need not look at what he writes: it is cut and cleaned, and can be read."""
    values = (
        (agent_protocol.parse_ready, agent_protocol.encode_ready(ready=False, waits_for=text)),
        (agent_protocol.parse_progress, agent_protocol.encode_progress(text, seconds)),
        (agent_protocol.parse_more, agent_protocol.encode_more(TimeRequest(name, seconds, text))),
        (agent_protocol.parse_forced, agent_protocol.encode_forced(Forced("halt", text))),
        (agent_protocol.parse_answer, agent_protocol.encode_answer(Answer(name, None, text))),
    )
    for parse, value in values:
        assert len(value) <= VALUE_MAX
        assert parse(value) is not None, value


@given(BYTES)
def test_no_bytes_raise_and_what_is_read_of_them_is_bounded_and_prints(value: bytes | None) -> None:
    for parse in PARSERS:
        word = parse(value)
        parts = word if isinstance(word, tuple) else (word,)
        for part in parts:
            if isinstance(part, str):
                assert part.isprintable()
                assert len(part) <= VALUE_MAX
            else:
                assert part is None or 0 <= part <= 99999  # type: ignore[operator]


@given(st.fixed_dictionaries(dict.fromkeys(GUEST_NODES, BYTES)))
def test_no_nodes_raise_and_what_is_shown_of_them_is_bounded_and_prints(
    values: dict[str, bytes | None],
) -> None:
    words = agent_protocol.parse_agent_nodes(values)
    assert (words is None) == (agent_protocol.parse_version(values["version"]) is None)
    if words is not None:
        assert set(words.garbled) <= set(GUEST_NODES)
        for text in (words.doing(), describe_guest(words)):
            assert text.isprintable()
            assert len(text) <= VALUE_MAX + 40
        assert describe_guest(words)
