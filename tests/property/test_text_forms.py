"""Quantities survive being written and read; every key of a TOML text is found on its line."""

from __future__ import annotations

import contextlib
import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.errors import ConfigurationError
from lamplighter.formats import lamplighter_toml
from lamplighter.formats.durations import format_duration, parse_duration
from lamplighter.formats.toml_positions import Path, locate


@given(st.integers(0, 10**12))
def test_a_duration_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


_NOISE = ["[a]", "'''\nb = 1\n'''", '"""\n[c]\n"\\""""', "# d = 1", "x = { y = 1 }", "]", '\\"']
strings = st.sampled_from(_NOISE) | st.text(st.characters(codec="utf-8"), max_size=12)
keys = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True) | strings
scalars = strings | st.integers(-9, 9) | st.booleans()
tables = st.recursive(
    st.dictionaries(keys, scalars, max_size=3),
    lambda inner: st.dictionaries(keys, scalars | st.lists(scalars | inner) | inner, max_size=3),
    max_leaves=12,
)


def _basic(text: str) -> str:
    """A string that both JSON and TOML read alike."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Printer:
    """Writes a document as TOML in a style drawn by chance, and notes where it put each key."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._text = ""
        self.places: dict[Path, tuple[int, int]] = {}

    def document(self, table: dict[str, object]) -> str:
        later: list[tuple[str, dict[str, object]]] = []
        for key, value in table.items():
            if isinstance(value, dict) and value and self._maybe():
                later.append((key, value))
            else:
                self._gap()
                self._pair((), key, value)
                self._put(self._pick("\n", " # c\n"))
        for key, value in later:
            self._put(self._pick("[", "[ "))
            self._key((key,), key)
            self._put("]\n")
            for inner, each in value.items():
                self._pair((key,), inner, each)
                self._put("\n")
        return self._text

    def _pair(self, path: Path, key: str, value: object) -> None:
        self._key((*path, key), key)
        self._put(self._pick("=", " = "))
        self._value((*path, key), value)

    def _key(self, path: Path, key: str) -> None:
        line = self._text.count("\n") + 1
        self.places[path] = (line, len(self._text) - self._text.rfind("\n"))
        bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        self._put(key if bare and self._maybe() else _basic(key))

    def _value(self, path: Path, value: object) -> None:
        if isinstance(value, dict):
            self._put("{")
            for number, (key, inner) in enumerate(value.items()):
                self._put(", " if number else " ")
                self._pair(path, key, inner)
            self._put("}")
        elif isinstance(value, list):
            self._put("[")
            for index, item in enumerate(value):
                self._gap()
                line = self._text.count("\n") + 1
                self.places[(*path, index)] = (line, len(self._text) - self._text.rfind("\n"))
                self._value((*path, index), item)
                self._gap()
                self._put(",")
            self._gap()
            self._put("]")
        else:
            self._scalar(value)

    def _scalar(self, value: object) -> None:
        if isinstance(value, str):
            long = value.replace("\\", "\\\\").replace('"""', '""\\"').replace("\r", "\\r")
            plain = all(c == "\n" or c >= " " for c in long) and "\x7f" not in long
            if plain and not long.endswith('"') and self._maybe():
                self._put(f'"""\n{long}"""')
            else:
                self._put(_basic(value))
        else:
            self._put(str(value).lower())

    def _gap(self) -> None:
        self._put(self._pick("", " ", "\n", "# [x] = '''\n"))

    def _put(self, text: str) -> None:
        self._text += text

    def _pick(self, *choices: str) -> str:
        return self._data.draw(st.sampled_from(choices))

    def _maybe(self) -> bool:
        return self._data.draw(st.booleans())


@given(tables, st.data())
def test_every_key_is_found_on_its_line(table: dict[str, object], data: st.DataObject) -> None:
    printer = Printer(data)
    text = printer.document(table)
    assert tomllib.loads(text) == table
    assert locate(text) == printer.places


PIECES = [
    *("[host]\n", "[domain.web]\n", "start", "stop_timeout", "state", "definitions", " = "),
    *('"always"', '"3min"', "\n", "1", "[", "]", "{", "}", ",", "'''", '"""', "#", "nan", "."),
]
soup = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.text() | soup)
def test_no_text_breaks_the_configuration(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert lamplighter_toml.parse(text, "/etc/l.toml").file == "/etc/l.toml"
