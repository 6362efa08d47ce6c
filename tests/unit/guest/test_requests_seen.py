"""What the daemon takes for the host's request, while the host writes between two reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.formats.agent_protocol import Answer, DeadlineNote
from lamplighter.guest.daemon import ASKED, SHUTDOWN, _read_request
from lamplighter.guest.nodes import AgentNodes, node
from lamplighter.guest.run_state import ANSWER, Answers, RunStateFile
from lamplighter.guest.xenbus import Bus
from tests.agent import Notes

if TYPE_CHECKING:
    from pathlib import Path


class Moving(Bus):
    """Gives what stands at each read in turn."""

    def __init__(self, *values: tuple[str, bytes | None]) -> None:
        self.values = list(values)
        self.written: list[str] = []

    def read(self, path: str) -> bytes | None:
        expected, value = self.values.pop(0)
        assert path == expected
        return value

    def write(self, path: str, value: bytes) -> None:
        self.written.append(path)


@pytest.mark.parametrize(
    ("before", "request_value", "after", "asked"),
    [
        (None, b"", None, None),
        (
            b"poweroff 180",
            b"",
            b"poweroff 180",
            DeadlineNote("poweroff", 180),
        ),  # the kernel took it
        (b"poweroff 180", b"", None, None),  # it was taken back meanwhile
        (b"nonsense", b"", b"nonsense", None),
    ],
)
def test_a_note_counts_only_if_it_stands_before_and_after(
    before: bytes | None, request_value: bytes, after: bytes | None, asked: DeadlineNote | None
) -> None:
    reads = [(ASKED, before), (SHUTDOWN, request_value), *([(ASKED, after)] if before else [])]
    heard = _read_request(Moving(*reads))
    assert (heard.value, heard.asked) == (request_value, asked)


def test_a_request_that_stays_is_read_with_its_note() -> None:
    heard = _read_request(Moving((ASKED, b"reboot 9"), (SHUTDOWN, b"reboot")))
    assert (heard.value, heard.asked) == (b"reboot", DeadlineNote("reboot", 9))


@pytest.mark.parametrize("going", [True, False])
def test_an_answer_that_came_while_there_was_no_agent_is_news_in_a_shutdown(
    tmp_path: Path, *, going: bool
) -> None:
    def answers(value: bytes | None, *, going: bool) -> tuple[Answers, Moving]:
        answers = Answers(RunStateFile(str(tmp_path / "state"), str(tmp_path), Notes()))
        answers.begin(Moving((ANSWER, value)), going=going)
        return answers, Moving(*[(ANSWER, value)] * 2)

    first, bus = answers(b"a granted 100", going=False)
    assert first.new_answer(bus) is None, "it is of an earlier shutdown"
    granted = b"b granted 200"
    assert first.new_answer(Moving((ANSWER, granted))) == Answer("b", 200)
    killed, bus = answers(granted, going=True)
    assert killed.new_answer(bus) == Answer("b", 200), "the guard had not moved yet"
    killed.settled()
    second, bus = answers(granted, going=going)
    assert second.new_answer(bus) is None, "the agent before this one processed it"
    third, bus = answers(b"c granted 300", going=going)
    assert third.new_answer(bus) == (Answer("c", 300) if going else None)
    assert third.new_answer(bus) is None, "once"
    (tmp_path / "state").unlink()
    fourth, bus = answers(b"d granted 400", going=going)
    assert fourth.new_answer(bus) is None, "without notes nobody knows"


def test_the_first_answer_of_all_may_come_while_there_is_no_agent(tmp_path: Path) -> None:
    notes = RunStateFile(str(tmp_path / "state"), str(tmp_path), Notes())
    Answers(notes).begin(Moving((ANSWER, None)), going=False)
    later = Answers(notes)
    later.begin(Moving(), going=True)
    assert later.new_answer(Moving((ANSWER, b"a granted 100"))) == Answer("a", 100)


def test_nothing_is_noted_of_answers_before_xenstore_was_there(tmp_path: Path) -> None:
    notes = RunStateFile(str(tmp_path / "state"), str(tmp_path), Notes())
    notes.update(answer="a")
    later = Answers(notes)
    later.settled()
    later.begin(Moving(), going=True)
    assert later.new_answer(Moving((ANSWER, b"a granted 900"))) is None


def test_nodes_are_written_again_only_where_they_have_gone() -> None:
    words = AgentNodes(b"1 0.1.0", Notes())
    words.report(None, "ready", b"1")
    there = Moving((node("version"), b"1 0.1.0"))
    assert not words.renew(there)
    assert there.written == []
    gone = Moving((node("version"), None))
    assert words.renew(gone)
    assert gone.written == [node("ready"), node("version")]
