"""Parses lamplighter.toml to a typed ``Configuration`` in which each setting knows its line.

Every key has a default and an empty text is valid. Unknown keys and wrong values are errors that
say what was expected, or which known key is nearest. The whole file is checked; the error that
comes first in it is raised and says how many more there are.
"""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lamplighter.errors import ConfigurationError
from lamplighter.formats import policy_values
from lamplighter.formats.policy_values import InvalidValue, described, listed
from lamplighter.formats.suggest import did_you_mean
from lamplighter.formats.toml_positions import Path, Place, locate
from lamplighter.model.policy import Configuration, HostSettings, Setting
from lamplighter.model.problem import Location, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Reader = Callable[[object, Location], Setting[Any]]

#: The limit of ``parallel_starts``: more domains than this are never created at one time.
MOST_PARALLEL_STARTS = 1000

#: The limit of ``hold_after``: nobody waits for more failed starts before a domain is held.
MOST_FAILED_STARTS = 1000

TOOLSTACKS = ("auto", "xl", "embedded")

_TABLES = ("host", "defaults", "domain")
_HOLD_AFTER = partial(policy_values.number, least=0, most=MOST_FAILED_STARTS)
_PARALLEL_STARTS = partial(policy_values.number, least=1, most=MOST_PARALLEL_STARTS)
_POLICY: dict[str, Reader] = {
    "start": policy_values.start,
    "stop": policy_values.stop,
    "start_timeout": policy_values.duration,
    "ack_timeout": policy_values.duration,
    "stop_timeout": policy_values.duration,
    "extend_max": policy_values.duration_or_none,
    "hold_after": _HOLD_AFTER,
    "hold_window": policy_values.duration,
}
_TOML_PLACE = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"
_MAGIC = re.compile(r"([*?[])")


def parse(text: str, file: str) -> Configuration:
    """Parse the text of ``file``, an absolute path; raise ``ConfigurationError`` with its line."""
    configuration, wrong = parse_valid_parts(text, file)
    if wrong is not None:
        raise wrong
    return configuration


def parse_valid_parts(text: str, file: str) -> tuple[Configuration, ConfigurationError | None]:
    """Return the valid settings of a text, and the first error in it.

    An invalid setting counts as not set. An error in the table of one domain is a problem of that
    domain, which ``Configuration.problems`` has. A text that is not TOML is rejected as a whole.
    """
    try:
        document = tomllib.loads(text)
        places = locate(text)
    except RecursionError:
        return Configuration(file), ConfigurationError("values are nested too deeply", where=file)
    except ValueError as error:
        message, line, column = str(error), None, None
        if "integer string conversion" in message:
            message = "a number has thousands of digits"
        elif match := re.search(_TOML_PLACE, message):
            message = message[: match.start()]
            line, column = (int(number) for number in match.groups("0"))
            if not line:
                line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        hint = "the file must be TOML, see https://toml.io"
        wrong = ConfigurationError(message, where=file, line=line, column=column, hint=hint)
        return Configuration(file), wrong
    reader = _Reader(file, places)
    configuration = reader.read(document)
    return configuration, reader.first_fault()


class _Reader:
    """One pass over one document, collecting errors instead of stopping at the first."""

    def __init__(self, file: str, places: Mapping[Path, Place]) -> None:
        self._file = file
        self._folder = PurePosixPath(file).parent
        self._places = places
        self._faults: list[ConfigurationError] = []
        self._problems: list[Problem] = []
        self._host: dict[str, Reader] = {
            "toolstack": _toolstack,
            "definitions": self._patterns,
            "state": self._directory,
            "run": self._directory,
            "parallel_starts": _PARALLEL_STARTS,
            "call_timeout": policy_values.duration,
            "stop_budget": policy_values.duration_or_none,
            "history": policy_values.long_duration,
        }

    def read(self, document: Mapping[str, object]) -> Configuration:
        for name in document:
            if name not in _TABLES:
                self._fault((name,), self._unknown((name,), _TABLES))
        host = self._settings(("host",), document.get("host", {}), self._host)
        defaults = self._settings(("defaults",), document.get("defaults", {}), _POLICY)
        tables = self._table(("domain",), document.get("domain", {}))
        domains = {
            name: self._settings(("domain", name), table, _POLICY) for name, table in tables.items()
        }
        problems = tuple(self._problems)
        return Configuration(self._file, HostSettings(**host), defaults, domains, problems)

    def first_fault(self) -> ConfigurationError | None:
        """Return the error that comes first in the file, if there is any."""
        if not self._faults:
            return None
        first = min(self._faults, key=lambda fault: (fault.line or 0, fault.column or 0))
        others = len(self._faults) - 1
        hint = first.hint
        if others:
            more = f"and {others} more {'errors' if others > 1 else 'error'} in the file"
            hint = f"{hint}; {more}" if hint else more
        return ConfigurationError(
            first.problem, where=first.file, line=first.line, column=first.column, hint=hint
        )

    # --- tables ------------------------------------------------------------------------------

    def _settings(
        self,
        path: Path,
        value: object,
        readers: Mapping[str, Reader],
    ) -> dict[str, Setting[Any]]:
        """Read a table of settings; one that cannot be read is noted as an error and left out."""
        found: dict[str, Setting[Any]] = {}
        for key, given in self._table(path, value).items():
            key_path = (*path, key)
            if key not in readers:
                self._fault(key_path, self._unknown(key_path, readers))
                continue
            try:
                found[key] = readers[key](given, self._location(key_path))
            except InvalidValue as error:
                self._fault(key_path, InvalidValue(f"{key}: {error.message}", error.hint))
        return found

    def _table(self, path: Path, value: object) -> dict[str, object]:
        if isinstance(value, dict):
            return value
        named = ".".join(str(part) for part in path)
        self._fault(path, InvalidValue(f"expected a table [{named}], not {described(value)}"))
        return {}

    def _unknown(self, path: Path, known: Iterable[str]) -> InvalidValue:
        """Return the error of an unknown key, with the nearest known one or its right table."""
        known = list(known)
        key = str(path[-1])
        where = f" in [{'.'.join(str(part) for part in path[:-1])}]" if path[:-1] else ""
        if key in self._host:
            hint = f"{key} belongs into [host]"
        elif key in _POLICY:
            hint = f"{key} belongs into [defaults] or [domain.NAME]"
        else:
            hint = did_you_mean(str(key), known, f"expected {listed(known)}")
        return InvalidValue(f"there is no key {policy_values.shown(key)}{where}", hint)

    def _fault(self, path: Path, error: InvalidValue) -> None:
        place = self._location(path)
        if path[0] == "domain" and len(path) > 2:  # a setting of one domain
            code, name = ConfigurationError.code, str(path[1])
            self._problems.append(Problem(code, error.message, place, name, error.hint))
            return
        self._faults.append(
            ConfigurationError(
                error.message,
                where=place.file,
                line=place.line,
                column=place.column,
                hint=error.hint,
            )
        )

    def _location(self, path: Path) -> Location:
        line, column = self._places.get(path, (None, None))
        return Location(self._file, line, column)

    # --- values of [host] --------------------------------------------------------------------

    def _directory(self, value: object, origin: Location) -> Setting[str]:
        return Setting(self._absolute(value), origin)

    def _patterns(self, value: object, origin: Location) -> Setting[tuple[str, ...]]:
        if not isinstance(value, list):
            raise InvalidValue(
                f'expected a list such as ["/etc/xen/*.cfg"], not {described(value)}'
            )
        return Setting(tuple(self._absolute(item, pattern=True) for item in value), origin)

    def _absolute(self, value: object, *, pattern: bool = False) -> str:
        """Resolve a path against the file's folder, whose own name is never a pattern."""
        if not isinstance(value, str):
            raise InvalidValue(f"expected a path in quotes, not {described(value)}")
        if not value or "\0" in value:
            raise InvalidValue(f"expected a path, not {policy_values.shown(value)}")
        folder = str(self._folder)
        return str(PurePosixPath(_MAGIC.sub(r"[\1]", folder) if pattern else folder, value))


def _toolstack(value: object, origin: Location) -> Setting[str]:
    if value == "libvirt":
        raise InvalidValue(
            "this version does not know libvirt yet", f"expected {listed(TOOLSTACKS)}"
        )
    if not isinstance(value, str) or value not in TOOLSTACKS:
        hint = did_you_mean(value, TOOLSTACKS) if isinstance(value, str) else ""
        raise InvalidValue(f"expected {listed(TOOLSTACKS)}, not {described(value)}", hint)
    return Setting(value, origin)
