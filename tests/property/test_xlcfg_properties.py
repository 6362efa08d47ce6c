"""What is printed as xl.cfg is read back as it was, and no text at all can break the parser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.errors import DefinitionError
from lamplighter.formats import xlcfg
from lamplighter.formats.definition import read_definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.formats.xlcfg import XlConfig
    from lamplighter.model.domain import Value

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}

keys = st.from_regex(r"[a-z][_.0-9a-z]{0,12}", fullmatch=True)
strings = st.text(st.characters(exclude_characters="\0"), max_size=30)
atoms = strings | st.integers(0, 2**63 - 1)
values = st.recursive(atoms, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
configs = st.dictionaries(keys, values, max_size=6)
PIECES = [
    *("a", "name", "=", "+=", "1", "0x1f", '"s"', "'t'", '"\\n"', '"\\q"', "[", "]", ",", ";", "é"),
    *("\n", "# c\n", "#", '"', "'", "\\", "\r", "\0", "\udcff", " ", "T", "-"),
]
soup = st.lists(st.sampled_from(PIECES)).map("".join)


class Printer:
    """Writes values as xl.cfg in a style drawn by chance: quotes, blanks, comments, commas."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def config(self, config: Mapping[str, Value]) -> str:
        lines = [
            f"{self._pick('', '  ')}{key}{self._pick('=', ' = ')}{self.value(value)}"
            f"{self._pick(';', chr(10), ' # c' + chr(10), ' ;' + chr(10))}"
            for key, value in config.items()
        ]
        return "".join(lines)

    def value(self, value: Value) -> str:
        if isinstance(value, list):
            items = f"{self._gap()},{self._gap()}".join(self.value(item) for item in value)
            trailing = self._pick("", ",") if value else ""
            return f"[{self._gap()}{items}{self._gap()}{trailing}{self._gap()}]"
        if isinstance(value, int):
            return self._pick(str(value), hex(value), f"0{value:o}")
        quote = self._pick("'", '"')
        escaped = "".join(_ESCAPES.get(c, f"\\{c}" if c == quote else c) for c in value)
        return f"{quote}{escaped}{quote}"

    def _gap(self) -> str:
        return self._pick("", " ", "\n", " # c\n\t")

    def _pick(self, *choices: str) -> str:
        return self._data.draw(st.sampled_from(choices))


@given(configs, st.data())
def test_what_is_printed_is_read_back(config: dict[str, Value], data: st.DataObject) -> None:
    assert xlcfg.parse(Printer(data).config(config), "F").values == config


@given(keys, st.lists(strings, min_size=1, max_size=4), st.data())
def test_adding_strings_joins_them(key: str, parts: list[str], data: st.DataObject) -> None:
    printer = Printer(data)
    text = "".join(f"{key} += {printer.value(part)}\n" for part in parts)
    assert xlcfg.parse(text, "F").values == {key: "".join(parts)}


def parsed(text: str) -> tuple[XlConfig | None, DefinitionError | None]:
    try:
        return xlcfg.parse(text, "F"), None
    except DefinitionError as error:
        return None, error


@given(st.text() | soup)
@example('name = "a"\n"')
@example("name = '\\")
def test_no_text_breaks_the_parser(text: str) -> None:
    salvaged = xlcfg.parse_valid_parts(text, "F")
    config, fault = parsed(text)
    if fault is None:
        assert salvaged == config
        for where in salvaged.locations.values():
            assert where.line is not None
            assert where.line <= text.count("\n") + 1
    else:
        assert fault.line is not None
        assert fault.column is not None
        lines = text.split("\n")
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
    reading = read_definition(salvaged)
    assert reading.definition is None or reading.name is not None


@given(configs, soup, st.data())
def test_salvage_keeps_what_stands_before_the_first_fault(
    config: dict[str, Value], rubbish: str, data: st.DataObject
) -> None:
    text = Printer(data).config({**config, "name": "web"}) + "\n"
    before = xlcfg.parse(text, "F")
    salvaged = xlcfg.parse_valid_parts(text + "! " + rubbish.replace("\n", " "), "F")
    assert salvaged.values == before.values
    assert json.dumps(salvaged.values) == json.dumps(before.values)
