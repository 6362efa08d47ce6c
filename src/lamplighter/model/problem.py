"""Problems in configuration files and definitions: what is wrong, and where as far as known."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A place in a file that an editor can open. Lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        return f"{place} ({self.key})" if self.key else place


#: The place of a setting that no file sets.
BUILT_IN = Location("built-in default")


class Problem(NamedTuple):
    """Something wrong with the configuration or a definition, as ``check`` reports it.

    ``domain`` is the name of the affected domain, or None. A ``fatal`` problem keeps that domain
    from being started; one that is not fatal is a warning.
    """

    code: str
    message: str
    where: Location | None = None
    domain: str | None = None
    hint: str = ""
    fatal: bool = True
