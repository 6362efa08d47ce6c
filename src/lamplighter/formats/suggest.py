"""Finds the known key or name that a user most likely meant.

``difflib`` is imported only after a mistake: importing it would take up a good part of the
start of every command without a mistake, and memory of every guest whose agent finds none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Difflib(Protocol):
    def get_close_matches(self, word: str, possibilities: list[str], n: int) -> list[str]: ...


def did_you_mean(given: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a hint that names the known word most like the given one, whatever their case.

    ``otherwise`` is the hint where none is like it.
    """
    words = {word.lower(): word for word in known}
    difflib = cast("_Difflib", import_module("difflib"))
    near = difflib.get_close_matches(given.lower(), sorted(words), 1)
    return f"did you mean {words[near[0]]}?" if near else otherwise
