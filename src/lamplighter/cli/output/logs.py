"""The log: what every module reports, as lines on standard error.

Each module has a logger of its own name. All of these are below the package's logger, which gets
one handler for the length of a command. Where systemd's journal reads standard error, each line
begins with its level (sd-daemon(3)), so that ``journalctl -p`` can select by it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from lamplighter.cli.output.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The logger above those of all modules.
PACKAGE = "lamplighter"

#: The environment variable by which systemd names the socket of its journal.
JOURNAL_VARIABLE = "JOURNAL_STREAM"

#: The levels in the journal, which are those of syslog.
_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


@contextmanager
def log_to(stream: TextIO, environ: Mapping[str, str]) -> Iterator[None]:
    """Write the log to this stream while the block lasts; a block within another keeps its level.

    Whatever becomes of the stream, nothing that logs fails.
    """
    package = logging.getLogger(PACKAGE)
    handlers, level = package.handlers[:], package.level
    handler = _Handler(stream)
    handler.setFormatter(_Formatter(marked=in_journal(stream, environ)))
    package.handlers[:] = [handler]
    package.setLevel(level or logging.INFO)
    try:
        yield
    finally:
        package.handlers[:] = handlers
        package.setLevel(level)


def show_from(level: int) -> None:
    """Leave out what is below this level, until the block of ``log_to`` ends."""
    logging.getLogger(PACKAGE).setLevel(level)


def in_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether systemd's journal reads this stream.

    The variable alone does not say so: it is inherited by programs whose streams lead elsewhere.
    So it names the device and the inode (systemd.exec(5)).
    """
    named = environ.get(JOURNAL_VARIABLE)
    if not named:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def mark(level: int) -> str:
    """Return the prefix by which the journal takes a line to be of this level."""
    return f"<{_SYSLOG[level]}>"


class _Formatter(logging.Formatter):
    """Names the program in front of each message; ``marked``: each line begins with its level."""

    def __init__(self, *, marked: bool) -> None:
        super().__init__("lamplighter: %(message)s")
        self._marked = marked

    def format(self, record: logging.LogRecord) -> str:
        prefix = mark(record.levelno) if self._marked else ""
        lines = super().format(record).split("\n")
        return "\n".join(f"{prefix}{printable(line)}" for line in lines)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream that may be closed, full, or without a reader: then the line is lost."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handleError(record)
