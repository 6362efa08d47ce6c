"""Parses the values of policy settings, in both vocabularies, to typed settings.

lamplighter.toml says ``start = "always"`` and ``stop = "leave"``; a definition says the same in
xend's vocabulary, ``on_xend_start = "start"`` and ``on_xend_stop = "ignore"``. ``suspend`` is
understood in both and refused: the setting becomes a clean shutdown, with a note that says why.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, TypeVar

from lamplighter.formats.durations import DURATION_FORMS, format_duration, parse_duration
from lamplighter.formats.suggest import did_you_mean
from lamplighter.model.policy import Setting, Start, Stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamplighter.model.problem import Location

T = TypeVar("T")

#: No start, stop or call takes longer than a day.
LONGEST = 86400.0

#: Nothing is remembered longer.
CENTURY = 36525 * 86400.0

SUSPEND_REFUSED = (
    "suspend is refused: nothing ties a saved image to its disks yet, so the domain is shut down "
    "cleanly instead"
)

_START = {word.value: word for word in Start}
_STOP = {"shutdown": Stop.SHUTDOWN, "leave": Stop.LEAVE, "destroy": Stop.DESTROY}
_XEND_START = {"start": Start.ALWAYS, "ignore": Start.NEVER}
_XEND_STOP = {"shutdown": Stop.SHUTDOWN, "ignore": Stop.LEAVE}


class InvalidValue(ValueError):
    """A value that cannot be used, with what was expected instead and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def start(value: object, origin: Location) -> Setting[Start]:
    """Read ``start`` of lamplighter.toml."""
    return Setting(_word(value, _START), origin)


def stop(value: object, origin: Location) -> Setting[Stop]:
    """Read ``stop`` of lamplighter.toml."""
    if value == "suspend":
        return Setting(Stop.SHUTDOWN, origin, SUSPEND_REFUSED)
    return Setting(_word(value, _STOP), origin)


def xend_start(value: object, origin: Location) -> Setting[Start]:
    """Read ``on_xend_start`` of a definition."""
    return Setting(_word(value, _XEND_START), origin)


def xend_stop(value: object, origin: Location) -> Setting[Stop]:
    """Read ``on_xend_stop`` of a definition."""
    if value == "suspend":
        return Setting(Stop.SHUTDOWN, origin, SUSPEND_REFUSED)
    return Setting(_word(value, _XEND_STOP, more=("suspend",)), origin)


def duration(value: object, origin: Location) -> Setting[float]:
    """Read a duration: text with units or a number of seconds, more than 0 and a day at most."""
    setting = _duration(value, origin, "more than 0 seconds")
    if not setting.value:
        raise InvalidValue(f"expected a duration of more than 0 seconds, not {described(value)}")
    return setting


def duration_or_none(value: object, origin: Location) -> Setting[float]:
    """Read a duration that may be 0, which means none."""
    return _duration(value, origin, "0 seconds or more")


def long_duration(value: object, origin: Location) -> Setting[float]:
    """Read a duration of more than 0 seconds and a hundred years at most."""
    setting = _duration(value, origin, "more than 0 seconds", CENTURY)
    if not setting.value:
        raise InvalidValue(f"expected a duration of more than 0 seconds, not {described(value)}")
    return setting


def _duration(value: object, origin: Location, least: str, most: float = LONGEST) -> Setting[float]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidValue(f"expected {DURATION_FORMS}, not {described(value)}")
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{shown(value)}: {error}") from error
    if not isfinite(seconds) or seconds < 0:
        raise InvalidValue(f"expected a duration of {least}, not {shown(value)}")
    if seconds > most:
        limit = format_duration(most)
        raise InvalidValue(f"expected a duration of {limit} at most, not {shown(value)}")
    return Setting(seconds, origin)


def number(value: object, origin: Location, *, least: int, most: int) -> Setting[int]:
    """Read a whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"expected a whole number, not {described(value)}")
    if not least <= value <= most:
        raise InvalidValue(f"expected a number from {least} to {most}, not {shown(value)}")
    return Setting(value, origin)


def listed(words: Iterable[str]) -> str:
    """Write ``"a", "b" or "c"``."""
    *most, last = [f'"{word}"' for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def described(value: object) -> str:
    """Return what a value is, for a person who wrote TOML or xl.cfg."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return shown(value)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def shown(value: str | float) -> str:
    """Write a value as one would in the file, cut short when it is long."""
    text = str(value)
    if not text.isprintable():
        text = ascii(text)[1:-1]
    text = text if len(text) <= 40 else text[:37] + "..."
    return f'"{text}"' if isinstance(value, str) else text


def _word(value: object, words: Mapping[str, T], more: tuple[str, ...] = ()) -> T:
    known = [*words, *more]
    if not isinstance(value, str):
        raise InvalidValue(f"expected {listed(known)}, not {described(value)}")
    if value not in words:
        problem = f"expected {listed(known)}, not {shown(value)}"
        raise InvalidValue(problem, did_you_mean(value, known))
    return words[value]
