"""xl.cfg: what libxlutil reads we read alike, and what it refuses we refuse, saying where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import DefinitionError
from lamplighter.formats import xlcfg
from lamplighter.formats.definition import read_definition
from lamplighter.formats.xlcfg import Number, XlConfig
from tests.definitions import (
    MALFORMED,
    VALID,
    expectations,
    malformed_path,
    read,
    truth,
    valid_path,
)

if TYPE_CHECKING:
    from lamplighter.model.domain import Value

FILE = "/etc/xen/web.cfg"


def parse(text: str) -> XlConfig:
    return xlcfg.parse(text, FILE)


def texts(value: Value) -> object:
    """A value as libxlutil holds it: nothing but text."""
    return [texts(item) for item in value] if isinstance(value, list) else xlcfg.as_text(value)


def refusal(text: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    return caught.value


def test_there_are_enough_files() -> None:
    assert len(VALID) >= 25
    assert len(MALFORMED) >= 40
    assert set(MALFORMED) == set(expectations())


@pytest.mark.parametrize("name", VALID)
def test_every_value_is_what_libxlutil_reads(name: str) -> None:
    config = xlcfg.parse(read(valid_path(name)), name)
    expected = truth(name)
    assert {key: texts(value) for key, value in config.values.items()} == expected["values"]
    numbers = {key: int(v) for key, v in config.values.items() if isinstance(v, Number)}
    assert numbers.items() <= expected["numbers"].items()


@pytest.mark.parametrize("name", VALID)
def test_text_that_xl_would_read_as_a_number_can_be_made_one(name: str) -> None:
    config = xlcfg.parse(read(valid_path(name)), name)
    made = {key: xlcfg.to_number(config.text(key) or "") for key in truth(name)["numbers"]}
    assert made == truth(name)["numbers"]


@pytest.mark.parametrize("name", VALID)
def test_salvage_reads_a_sound_file_as_parse_does(name: str) -> None:
    text = read(valid_path(name))
    assert xlcfg.parse_valid_parts(text, name) == xlcfg.parse(text, name)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_at_its_place(name: str) -> None:
    expected = expectations()[name]
    file = f"/etc/xen/{name}.cfg"
    try:
        errors = read_definition(xlcfg.parse(read(malformed_path(name)), file)).errors
    except DefinitionError as error:
        errors = (error,)
    assert errors, "xl refuses this file"
    first = errors[0]
    assert (first.line, first.column) == (expected["line"], expected["column"])
    assert expected["says"] in first.problem
    place = file if first.line is None else f"{file}:{first.line}:{first.column}"
    assert first.message == f"{place}: {first.problem}"
    assert first.exit_status == 78


def test_a_key_knows_where_it_is_set() -> None:
    config = parse('name = "a"\n\n  memory = 64; vcpus = 2\nmemory = 128\nname += "b"\n')
    places = {key: (where.line, where.column) for key, where in config.locations.items()}
    assert places == {"name": (5, 1), "memory": (4, 1), "vcpus": (3, 16)}
    assert str(config.where("memory")) == f"{FILE}:4:1"
    assert str(config.where("absent")) == FILE


def test_a_number_remembers_how_it_was_written() -> None:
    values = parse("a = 0x10\nb = 010\nc = 10\nd = 08\ne = 9223372036854775808\n").values
    assert values == {"a": 16, "b": 8, "c": 10, "d": "08", "e": "9223372036854775808"}
    assert [texts(v) for v in values.values()] == ["0x10", "010", "10", "08", "9223372036854775808"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-0x1f", -31),
        (" +7", 7),
        ("\n\t7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", None),
        ("7 ", None),
        ("", None),
        ("+", None),
        ("0x", None),
        ("1_0", None),
        ("٣", None),
        ("1" * 5000, None),
    ],
)
def test_numbers_are_read_as_strtol_reads_them(text: str, number: int | None) -> None:
    assert xlcfg.to_number(text) == number


def test_text_is_what_xl_sees_when_it_wants_text() -> None:
    config = parse('a = 0x10\nb = "x"\nc = [ "x" ]\n')
    assert [config.text(key) for key in "abcd"] == ["0x10", "x", None, None]


def test_adding_keeps_lists_and_places_apart() -> None:
    config = parse("a = [ 1 ]\nb = [ 2 ]\na += [ 3, [ 4 ] ]\n")
    assert config.values == {"a": [1, 3, [4]], "b": [2]}


def test_nesting_has_an_end() -> None:
    deepest = xlcfg.DEEPEST
    assert parse(f"a = {'[' * deepest}{']' * deepest}\n").values["a"]
    error = refusal(f"a = {'[' * 100_000}")
    assert (error.line, error.column) == (1, 5 + deepest)
    assert "nested deeper" in error.problem


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a = True\n", "write 1 or 0"),
        ("a = word\n", "text stands in quotes"),
        ("a = -1\n", "negative numbers into quotes"),
        ("a = 1\r\n", "dos2unix"),
        ('a = "\\d"\n', "\\\\ for a backslash"),
        ("a = 1 # end", "end the file with a newline"),
    ],
)
def test_an_error_says_what_to_do(text: str, hint: str) -> None:
    assert hint in refusal(text).hint


def test_what_cannot_be_shown_is_escaped() -> None:
    assert "\\x1b[31m" in refusal("a = \x1b[31m\n").problem
    assert "\\x1b" in refusal('a = "\\\x1b"\n').problem
    assert "\\udcff" in refusal("a = \udcff \n").problem


def test_a_long_value_is_cut_short() -> None:
    assert len(refusal("A" * 100_000).message) < 200


def test_salvage_goes_on_behind_a_broken_line() -> None:
    config = xlcfg.parse_valid_parts('memory = \nname = "web"\nvif = [ 1 2\nvcpus = 2\n!\n', FILE)
    assert config.values == {"name": "web", "vcpus": 2}
    assert config.where("name").line == 2


def test_salvage_of_rubbish_ends() -> None:
    rubbish = '"\n' * (xlcfg.MOST_FAULTS + 1) + 'name = "web"\n'
    assert xlcfg.parse_valid_parts(rubbish, FILE).values == {}
