"""The known word that somebody most likely meant.

``difflib`` is loaded only when somebody mistyped something: it would cost every command that starts
without a mistake a good part of its start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Difflib(Protocol):
    def get_close_matches(self, word: str, possibilities: list[str], n: int) -> list[str]: ...


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like the given one; None if none is much like it."""
    near = cast("_Difflib", import_module("difflib")).get_close_matches(given, sorted(known), 1)
    return near[0] if near else None
