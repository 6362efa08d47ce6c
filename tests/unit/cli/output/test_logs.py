"""The log on standard error: its levels, with systemd's journal and without, and lost streams."""

from __future__ import annotations

import io
import logging
import os
from typing import TYPE_CHECKING, TextIO

import pytest

from lamplighter.cli.output.logs import JOURNAL_VARIABLE, PACKAGE, in_journal, log_to, show_from

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("lamplighter.service.any")


class Pipe:
    """A pipe, as standard error of a unit is a socket."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream: TextIO = os.fdopen(writer, "w")
        status = os.fstat(writer)
        self.name = f"{status.st_dev}:{status.st_ino}"

    def read(self) -> str:
        return os.read(self.reader, 65536).decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.stream.close()
    os.close(pipe.reader)


@pytest.mark.parametrize(
    ("level", "mark"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
    ],
)
@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("web is held", ["lamplighter: web is held"]),
        ("it is gone\n  look there", ["lamplighter: it is gone", "  look there"]),
        ("\x1b[2J\n\x07", ["lamplighter: \\x1b[2J", "\\x07"]),
        ("100 % of it", ["lamplighter: 100 % of it"]),
    ],
)
def test_each_line_has_its_level_in_the_journal_and_nowhere_else(
    pipe: Pipe, level: int, mark: str, message: str, lines: list[str]
) -> None:
    for named, prefix in ((pipe.name, mark), ("1:2", ""), ("", ""), (None, "")):
        environ = {} if named is None else {JOURNAL_VARIABLE: named}
        with log_to(pipe.stream, environ):
            show_from(logging.DEBUG)
            logger.log(level, message)
        assert pipe.read().splitlines() == [prefix + line for line in lines]


def test_a_stream_without_a_descriptor_is_not_the_journal(pipe: Pipe) -> None:
    environ = {JOURNAL_VARIABLE: pipe.name}
    assert in_journal(pipe.stream, environ)
    assert not in_journal(io.StringIO(), environ)
    pipe.stream.close()
    assert not in_journal(pipe.stream, environ)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logging.DEBUG, ["debug", "info", "warning", "error"]),
        (None, ["info", "warning", "error"]),
        (logging.ERROR, ["error"]),
    ],
)
def test_what_is_shown(level: int | None, shown: list[str]) -> None:
    stream = io.StringIO()
    with log_to(stream, {}):
        if level is not None:
            show_from(level)
        for word in ("debug", "info", "warning", "error"):
            getattr(logger, word)(word)
    assert stream.getvalue().splitlines() == [f"lamplighter: {word}" for word in shown]


def test_a_block_within_another_keeps_its_level_and_has_its_own_stream() -> None:
    outer, inner = io.StringIO(), io.StringIO()
    with log_to(outer, {}):
        show_from(logging.ERROR)
        with log_to(inner, {}):
            logger.warning("not shown")
            logger.error("inner")
            show_from(logging.DEBUG)
        logger.warning("not shown either")
        logger.error("outer")
    assert (outer.getvalue(), inner.getvalue()) == ("lamplighter: outer\n", "lamplighter: inner\n")


def test_nothing_is_left_behind() -> None:
    package = logging.getLogger(PACKAGE)
    before = package.handlers[:], package.level

    def fail() -> None:
        with log_to(io.StringIO(), {}):
            show_from(logging.DEBUG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (package.handlers, package.level) == before


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_stream_that_cannot_be_written_stops_nothing(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    reader, writer = os.pipe()
    os.close(reader)
    nobody_reads = os.fdopen(writer, "w")
    for stream in (closed, Full(), ascii_only, nobody_reads):
        with log_to(stream, {}):
            logger.error("tränen")
            logger.error("again")
    with pytest.raises(BrokenPipeError):
        nobody_reads.close()
    assert capsys.readouterr().err == ""
