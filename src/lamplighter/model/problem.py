"""What is wrong in a file, and where: the file and, as far as known, line, column and key."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A place an administrator can open in an editor. Lines and columns count from 1."""

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


#: Where a setting comes from when no file says anything.
BUILT_IN = Location("built-in default")


class Problem(NamedTuple):
    """Something wrong with the configuration or a definition, as ``check`` tells it.

    ``domain`` is the name of the domain that suffers from it, or None. A problem with ``fatal``
    keeps that domain from being started; one without it is a warning.
    """

    code: str
    message: str
    where: Location | None = None
    domain: str | None = None
    hint: str = ""
    fatal: bool = True
