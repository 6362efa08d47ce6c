"""Parses xl.cfg to values with their places, with an error where xl would refuse the file.

    file    = { [ assignment ] ( newline | ";" ) } [ assignment ]
    assignment = word ( "=" | "+=" ) value
    value   = string | number | "[" { newline } [ items [ "," { newline } ] ] "]"
    items   = value { newline } { "," { newline } value { newline } }

``xlcfg_tokens`` defines the tokens. Of two assignments to one key the last one wins; ``+=`` joins
strings or lists, and assigns to a key that was not set. xl itself keeps every atom as text and
converts it when it wants a number; here a number token that xl could read as a number is a
``Number``, which keeps its spelling, and anything else is a string.

``parse_valid_parts`` reads what it can of a broken file, to find its domain's name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import DefinitionError
from lamplighter.formats.xlcfg_tokens import Scanner, Sort, Token
from lamplighter.model.problem import Location

if TYPE_CHECKING:
    from lamplighter.model.domain import Value

#: xl's own keys need three levels. Deeper nesting is a mistake, and a danger to recursive code.
DEEPEST = 64

#: A file with this many broken lines is something else, and there is nothing to salvage.
MOST_FAULTS = 100

#: What C's strtol reads with base 0, and the range of a long.
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_LONG = range(-(2**63), 2**63)


class Number(int):
    """A number in the file; ``text`` is its spelling there, such as ``0x10``."""

    text: str

    def __new__(cls, value: int, text: str) -> Number:
        number = super().__new__(cls, value)
        number.text = text
        return number


class XlConfig(NamedTuple):
    """The values of one file, and where the winning assignment to each key begins."""

    file: str
    values: dict[str, Value]
    locations: dict[str, Location]

    def text(self, key: str) -> str | None:
        """Return the value as xl sees it when it wants text; None when absent or a list."""
        value = self.values.get(key)
        return None if value is None or isinstance(value, list) else as_text(value)

    def where(self, key: str) -> Location:
        """Return where the key is set; the file when it is not."""
        return self.locations.get(key, Location(self.file))


def parse(text: str, file: str) -> XlConfig:
    """Parse a whole file; raise ``DefinitionError`` with file, line and column at its first fault.

    Bytes that are not UTF-8 are accepted as surrogate escapes: xl does not check them either.
    """
    config, faults = _Parser(text, file).run(most=1)
    if faults:
        raise faults[0]
    return config


def parse_valid_parts(text: str, file: str) -> XlConfig:
    """Read the assignments that can be read, continuing after each broken line."""
    return _Parser(text, file).run(most=MOST_FAULTS)[0]


def to_number(text: str) -> int | None:
    """Return what C's strtol with base 0 makes of the whole text; None if it is not a number."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    digits, base = next((d, b) for d, b in ((hexadecimal, 16), (octal, 8), (decimal, 10)) if d)
    if len(digits) > 64:  # far beyond a long, and Python refuses to read very long ones at all
        return None
    value = int(digits, base) * (-1 if sign == "-" else 1)
    return value if value in _LONG else None


def as_text(value: str | int) -> str:
    """Return an atom as the text that xl keeps."""
    if isinstance(value, Number):
        return value.text
    return value if isinstance(value, str) else str(value)


class _Fault(Exception):
    """A token is where it must not be."""

    def __init__(self, token: Token, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.token = token
        self.message = message
        self.hint = hint


class _Parser:
    """One pass over one file; after a fault it continues behind the line, as libxlu's does."""

    def __init__(self, text: str, file: str) -> None:
        self._scanner = Scanner(text)
        self._token = self._scanner.next()
        self._config = XlConfig(file, {}, {})

    def run(self, *, most: int) -> tuple[XlConfig, list[DefinitionError]]:
        """Parse until the end of the file or the given number of faults."""
        faults: list[DefinitionError] = []
        values, file = self._config.values, self._config.file
        while len(faults) < most and not self._at(Sort.END):
            try:
                if self._at(Sort.NEWLINE, Sort.SEMICOLON):
                    self._advance()
                    continue
                key = self._expect(Sort.WORD, expected="a key such as name")
                adding = self._at(Sort.ADD)
                if adding:
                    self._advance()
                else:
                    self._expect(Sort.ASSIGN, expected=f"'=' or '+=' after {key.text}")
                first = self._token
                value = self._value()
                if adding:
                    value = _sum(key.text, values.get(key.text), value, first)
                values[key.text] = value
                self._config.locations[key.text] = Location(file, key.line, key.column)
                if not self._at(Sort.NEWLINE, Sort.SEMICOLON, Sort.END):
                    raise self._unexpected("the end of the line or ';'")
            except _Fault as fault:
                at = fault.token
                faults.append(
                    DefinitionError(
                        fault.message, where=file, line=at.line, column=at.column, hint=fault.hint
                    )
                )
                if not self._at(Sort.NEWLINE):
                    self._scanner.skip_line()
                self._token = self._scanner.next()
        return self._config, faults

    def _value(self) -> Value:
        """Read one value. The open lists are on an explicit stack, so that depth is bounded."""
        if not self._at(Sort.OPEN):
            return self._atom("a string, a number or '['")
        opening = self._advance()
        stack: list[list[Value]] = [[]]
        wants_value = True  # a value may stand here; if not, a comma may
        while True:
            while self._at(Sort.NEWLINE):
                self._advance()
            if self._at(Sort.CLOSE):
                self._advance()
                done = stack.pop()
                if not stack:
                    return done
                stack[-1].append(done)
                wants_value = False
            elif not wants_value:
                self._expect(Sort.COMMA, expected="',' or ']'", since=opening)
                wants_value = True
            elif self._at(Sort.OPEN):
                if len(stack) == DEEPEST:
                    raise _Fault(self._token, f"lists are nested deeper than {DEEPEST}")
                self._advance()
                stack.append([])
            else:
                stack[-1].append(self._atom("a string, a number, '[' or ']'", since=opening))
                wants_value = False

    def _atom(self, expected: str, since: Token | None = None) -> str | int:
        token = self._token
        if token.sort not in (Sort.STRING, Sort.NUMBER):
            raise self._unexpected(expected, since)
        self._advance()
        if token.sort is Sort.NUMBER and (value := to_number(token.text)) is not None:
            return Number(value, token.text)
        return token.text

    def _at(self, *sorts: Sort) -> bool:
        return self._token.sort in sorts

    def _advance(self) -> Token:
        token = self._token
        self._token = self._scanner.next()
        return token

    def _expect(self, sort: Sort, *, expected: str, since: Token | None = None) -> Token:
        if not self._at(sort):
            raise self._unexpected(expected, since)
        return self._advance()

    def _unexpected(self, expected: str, since: Token | None = None) -> _Fault:
        token = self._token
        if token.sort is Sort.BAD:
            return _Fault(token, token.text, token.hint)
        found = token.sort.value
        if token.sort is Sort.WORD:
            found = f"the word {token.text}"
        elif token.sort is Sort.NUMBER:
            found = f"the number {token.text}"
        message = f"expected {expected}, found {found}"
        if since is not None:
            message += f" (the list begins at line {since.line})"
        hint = "text stands in quotes" if token.sort is Sort.WORD and "string" in expected else ""
        return _Fault(token, message, hint)


def _sum(key: str, before: Value | None, added: Value, at: Token) -> Value:
    """Return what ``+=`` makes of a key's value; ``at`` is where the added one begins."""
    if isinstance(added, list):
        if before is not None and not isinstance(before, list):
            raise _Fault(at, f"+= adds a list to {key}, which is a string")
        before = before or []
        before.extend(added)
        return before
    if isinstance(before, list):
        raise _Fault(at, f"+= adds a string to {key}, which is a list")
    # xl does not accept a number built with +=, so the result is text in any case.
    return ("" if before is None else as_text(before)) + as_text(added)
