"""The monitor's event log: one line per domain event, appended and synced.

It is a file of its own beside the journal, written by the monitor alone, so that a monitor that
hangs, dies or fills the disk can neither delay nor damage the record of runs. A reader skips a line
that cannot be parsed because a crash cut it short or the disk lost it.

A file longer than ``SIZE_MAX`` bytes becomes the older one of two and replaces the previous one.
The new file begins with the events that the writer wants to keep, so that a domain that comes and
goes without end does not push out the latest event of another one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import from_line, to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamplighter.model.domain_event import DomainEvent

#: The event log inside the state directory, and its older half.
FILE_NAME = "logbook.jsonl"
OLDER_FILE_NAME = "logbook.1.jsonl"

#: The size in bytes beyond which the file is replaced: some 15,000 domain events.
SIZE_MAX = 4 << 20

#: Bytes; a line written here is shorter, and no part of a longer one can be parsed.
LINE_MAX = 1 << 14


class EventLog:
    """Writes the event log in a state directory; the file is opened for each write."""

    def __init__(self, directory: Path, *, longest: int = SIZE_MAX) -> None:
        self._path = directory / FILE_NAME
        self._longest = longest

    def write(self, domain_events: Sequence[DomainEvent], kept: Iterable[DomainEvent] = ()) -> None:
        """Append domain events; they survive a power cut when this returns. ``JournalError``.

        ``kept`` is what a new file begins with once this one is full.
        """
        try:
            if self._append(domain_events) > self._longest:
                self._path.replace(self._path.with_name(OLDER_FILE_NAME))
                self._append(tuple(kept))
        except OSError as error:
            raise JournalError(
                f"the event log {self._path} cannot be written: {error.strerror}",
                hint="domain events are still served; see df and dmesg",
            ) from error

    def _append(self, domain_events: Sequence[DomainEvent]) -> int:
        """Append domain events and sync them; return the length of the file in bytes."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            # After a line that a crash cut short, begin a new one.
            torn = file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            file.write((b"\n" if torn else b"") + b"".join(map(to_line, domain_events)))
            file.flush()
            os.fsync(file.fileno())
            return file.tell()


def read_event_log(directory: Path) -> Iterator[DomainEvent]:
    """Yield every recorded domain event, the oldest first; raise ``JournalError``.

    An event log that does not exist yet has none.
    """
    for name in (OLDER_FILE_NAME, FILE_NAME):
        path = directory / name
        try:
            with path.open("rb") as file:
                while line := file.readline(LINE_MAX):
                    with suppress(ValueError):
                        yield from_line(line)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalError(
                f"the event log {path} cannot be read: {error.strerror}",
                hint="run as a user who may read it, such as root",
            ) from error
