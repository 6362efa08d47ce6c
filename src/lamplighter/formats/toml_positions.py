"""Finds the positions of keys in a TOML text; ``tomllib`` gives the values but not their lines.

The text must be one that ``tomllib`` has accepted, so this scanner validates nothing: it only has
to distinguish keys from values, and to find where each value ends.
"""

from __future__ import annotations

import re
import tomllib

#: A key as its path from the top; an element of an array of tables is its index.
Path = tuple[str | int, ...]
#: Line and column, counted from 1.
Place = tuple[int, int]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: A string of any of the four kinds, the multi-line ones first.
_STRING = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"{3,5}'
    r"|'''[^']*(?:'(?!'')[^']*)*'{3,5}"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\r\n#]+")


def locate(text: str) -> dict[Path, Place]:
    """Return the place of every key and table of a valid TOML text."""
    return _Locator(text).run()


class _Locator:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._places: dict[Path, Place] = {}
        self._counts: dict[Path, int] = {}
        self._line = 1
        self._line_start = 0
        self._counted_to = 0

    def run(self) -> dict[Path, Place]:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                several = self._text.startswith("[[", self._at)
                self._at += 2 if several else 1
                key = self._key(())
                self._at += 2 if several else 1
                # Below an array of tables, the array's last element is meant.
                table = ()
                for part in key[:-1]:
                    table = (*table, part)
                    if table in self._counts:
                        table = (*table, self._counts[table])
                table = (*table, key[-1])
                if several:
                    self._counts[table] = self._counts.get(table, -1) + 1
                    table = (*table, self._counts[table])
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._places

    def _pair(self, prefix: Path) -> None:
        path = self._key(prefix)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self, prefix: Path) -> Path:
        """Read a dotted key and the blanks around it, and note the place of each of its parts."""
        path = prefix
        while True:
            self._skip(_BLANK)
            place = self._place()
            if match := _BARE_KEY.match(self._text, self._at):
                self._at = match.end()
                part = match.group()
            else:
                part = str(tomllib.loads(f"key = {self._skip(_STRING)}")["key"])
            path = (*path, part)
            self._places.setdefault(path, place)
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return path
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        opening = self._text[self._at]
        if opening not in "[{":
            self._skip(_STRING if opening in "\"'" else _SCALAR)
            return
        # An array or an inline table.
        closing, index = "]" if opening == "[" else "}", 0
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != closing:
            if opening == "[":
                self._places[(*path, index)] = self._place()
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)
            self._skip(_SPACE)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_SPACE)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _place(self) -> Place:
        """Return the current place; lines are counted once, because the scan never goes back."""
        newlines = self._text.count("\n", self._counted_to, self._at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._counted_to, self._at) + 1
        self._counted_to = self._at
        return self._line, self._at - self._line_start + 1
