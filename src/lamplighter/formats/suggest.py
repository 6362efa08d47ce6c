"""Finds the known key or name that a user most likely meant.

``difflib`` is imported only after a mistake: importing it would take up a good part of the
start of every command without a mistake.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Difflib(Protocol):
    def get_close_matches(self, word: str, possibilities: list[str], n: int) -> list[str]: ...


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like the given one; None if none is close."""
    near = cast("_Difflib", import_module("difflib")).get_close_matches(given, sorted(known), 1)
    return near[0] if near else None
