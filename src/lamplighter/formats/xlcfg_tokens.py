r"""Scanner of xl.cfg: characters to tokens, as libxlu's scanner makes them.

libxlu's language is small and strict, and administrators' files are written for it, oddities
included; each of these was compared with libxlutil 4.17 and 4.20:

- A line ends only with a newline: a carriage return is an error, a backslash at the end of a line
  does not continue it, and no string spans lines. Blanks are spaces and tabs.
- A comment must end with a newline, so one on a last line without a newline is an error.
- A byte that cannot begin a token is an error, except as the very last byte of the file.
- Words begin with a lower-case letter and may contain dots; ``True`` is an error. A number is a
  digit and then digits, ``a`` to ``f`` and ``x``, whether or not that is a valid number.
- In strings ``\a \b \f \n \r \t \v \\ \' \"`` mean what they mean in C. A number after a
  backslash is read as *decimal*, must have two digits or more after its first one, and is then
  dropped; ``\x`` is always an error.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class Sort(Enum):
    """What a token is; the values are its names in messages."""

    WORD = "a word"
    NUMBER = "a number"
    STRING = "a string"
    ASSIGN = "'='"
    ADD = "'+='"
    COMMA = "','"
    OPEN = "'['"
    CLOSE = "']'"
    SEMICOLON = "';'"
    NEWLINE = "the end of the line"
    END = "the end of the file"
    BAD = "something that is not xl.cfg"


class Token(NamedTuple):
    """One token and its place, counted from 1.

    ``text`` is the value of a string, what is wrong with a BAD token, and the characters of any
    other; ``hint`` says what to write instead of a BAD one.
    """

    sort: Sort
    text: str
    line: int
    column: int
    hint: str = ""


_PUNCTUATION = {
    "=": Sort.ASSIGN,
    "+=": Sort.ADD,
    ",": Sort.COMMA,
    "[": Sort.OPEN,
    "]": Sort.CLOSE,
    ";": Sort.SEMICOLON,
    "\n": Sort.NEWLINE,
}

_TOKEN = re.compile(
    r"""
    (?P<word>[a-z][_.0-9a-z]*)
  | (?P<number>[0-9][0-9a-fx]*)
  | (?P<string>'[^'\\\n]*(?:\\[^\n][^'\\\n]*)*' | "[^"\\\n]*(?:\\[^\n][^"\\\n]*)*")
  | (?P<comment>\#[^\n]*\n)
  | (?P<punctuation>\+=|[=,;\[\]\n])
    """,
    re.VERBOSE,
)
_BLANKS = re.compile(r"[ \t]*")
_CHUNK = r"[^ \t\n]*"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
#: What strtoul reads of the at most three characters after an octal-looking escape.
_DROPPED = r"[ \t\v\f\r]*[+-]?[0-9]+"
_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_SHOWN = 30


class Scanner:
    """Returns the tokens of one text, one at a time; after the last one, always END."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0

    def next(self) -> Token:
        """Return the next token and move behind it."""
        match = _BLANKS.match(self._text, self._at)
        self._at = match.end() if match else self._at
        if self._at == len(self._text):
            return self._token(Sort.END, "", self._at)
        start = self._at
        match = _TOKEN.match(self._text, start)
        if match is None:
            # No token begins here: an error, unless the file ends with this very byte, which is
            # ASCII or a surrogate escape.
            first = self._text[start]
            one_byte = first < "\x80" or "\udc80" <= first <= "\udcff"
            if one_byte and start + 1 == len(self._text):
                self._at = len(self._text)
                return self._token(Sort.END, "", start)
            chunk = re.compile(_CHUNK).match(self._text, start)
            text = chunk.group() if chunk and chunk.group() else first
            self._at = start + len(text)
            problem, hint = _diagnose(text)
            return self._token(Sort.BAD, problem, start, hint)
        text = match.group()
        if match.lastgroup == "string":
            token = self._string(text, start)
        elif match.lastgroup in ("punctuation", "comment"):
            token = self._token(_PUNCTUATION.get(text, Sort.NEWLINE), text, start)
        else:
            sort = Sort.WORD if match.lastgroup == "word" else Sort.NUMBER
            token = self._token(sort, text, start)
        self._go(match.end())
        return token

    def skip_line(self) -> None:
        """Move behind the end of the line: nothing useful can be read before it."""
        end = self._text.find("\n", self._at)
        self._go(len(self._text) if end < 0 else end + 1)

    def _go(self, to: int) -> None:
        if self._text[to - 1 : to] == "\n":
            self._line += 1
            self._line_start = to
        self._at = to

    def _token(self, sort: Sort, text: str, start: int, hint: str = "") -> Token:
        return Token(sort, text, self._line, start - self._line_start + 1, hint)

    def _string(self, quoted: str, start: int) -> Token:
        if "\0" in quoted:
            at = start + quoted.index("\0")
            return self._token(Sort.BAD, "a string holds a NUL byte", at, "take the NUL byte out")
        parts: list[str] = []
        at = 1
        while match := _ESCAPE.search(quoted, at):
            parts.append(quoted[at : match.start()])
            at = match.end()
            letter = match.group(1)
            if letter in _SIMPLE:
                parts.append(_SIMPLE[letter])
                continue
            octal = letter in "01234567"
            number = re.compile(_DROPPED).match(quoted, at, at + 3) if octal else None
            if number and number.end() - at > 1:
                at = number.end()
                continue
            if letter in "x01234567":
                hint = "xl knows no characters by number: write the character itself"
            else:
                known = "\\a \\b \\f \\n \\r \\t \\v \\\\ \\' and \\\""
                hint = f"xl knows {known}; write \\\\ for a backslash"
            shown = letter if letter.isprintable() else ascii(letter)[1:-1]
            problem = f"the escape \\{shown} in a string is unknown to xl"
            return self._token(Sort.BAD, problem, start + match.start(), hint)
        parts.append(quoted[at:-1])
        return self._token(Sort.STRING, "".join(parts), start)


def _diagnose(chunk: str) -> tuple[str, str]:
    """Return what is wrong with characters that begin no token, and what to write instead."""
    first = chunk[0]
    if first in "'\"":
        return "a string is not closed on its line", f"close it with {first}; strings are one line"
    if first == "#":
        return "the last line is a comment without a newline", "end the file with a newline"
    if first == "\r":
        return "a carriage return (a line end of DOS)", "xl wants plain newlines: try dos2unix"
    if first == "\ufeff":
        return "a byte order mark", "save the file as UTF-8 without one"
    if first == "\\":
        return "a backslash outside a string", "lines are not continued, except inside [ ]"
    shown = ascii(chunk[:_SHOWN])[1:-1] if not chunk.isprintable() else chunk[:_SHOWN]
    if chunk.rstrip(",;]") in ("True", "False", "None"):
        return f"{shown} is Python, not xl.cfg", "write 1 or 0"
    if first.isupper():
        return f"{shown} begins with a capital letter", "keys are lower case, text is in quotes"
    if first in "+-.():":
        return f"{shown} is not xl.cfg", "put text and negative numbers into quotes"
    return f"{shown} is not xl.cfg", "put text into quotes"
