"""The monitor's logbook: who came and went, a line each, appended and synced.

It is a file of its own beside the journal, and the monitor alone writes it, so that no monitor that
hangs, dies or fills a disk can hold up or harm what runs write down. A reader takes the lines as
they are: one that cannot be read, because a crash cut it short or a disk lost it, is passed over.

The file is kept to ``LONGEST`` bytes: then it becomes the older one of two, and the oldest goes.
The new one begins with what the writer wants to be kept, so that one domain that comes and goes
without end does not push the last word on another one out.
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

#: The logbook inside the state directory, and where its older half is.
FILE_NAME = "logbook.jsonl"
OLDER = "logbook.1.jsonl"

#: So long the file may become, in bytes: some 15,000 passages.
LONGEST = 4 << 20

#: A line of ours is shorter; the rest of a longer one is no line either.
LINE_MAX = 1 << 14


class EventLog:
    """The logbook in a state directory, to be written; opened anew for each entry."""

    def __init__(self, directory: Path, *, longest: int = LONGEST) -> None:
        self._path = directory / FILE_NAME
        self._longest = longest

    def write(self, domain_events: Sequence[DomainEvent], kept: Iterable[DomainEvent] = ()) -> None:
        """Append passages; they survive a power cut when this returns. ``JournalError``.

        ``kept`` is what a new file begins with, once this one is full.
        """
        try:
            if self._append(domain_events) > self._longest:
                self._path.replace(self._path.with_name(OLDER))
                self._append(tuple(kept))
        except OSError as error:
            raise JournalError(
                f"the logbook {self._path} cannot be written: {error.strerror}",
                hint="what comes and goes is still served; df and dmesg may tell more",
            ) from error

    def _append(self, domain_events: Sequence[DomainEvent]) -> int:
        """Append passages and sync them; return how long the file is."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            # Behind what a crash cut short a line of its own begins.
            torn = file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            file.write((b"\n" if torn else b"") + b"".join(map(to_line, domain_events)))
            file.flush()
            os.fsync(file.fileno())
            return file.tell()


def read_event_log(directory: Path) -> Iterator[DomainEvent]:
    """Yield every passage on record, the oldest first; raise ``JournalError``.

    A logbook that nobody has written yet has none.
    """
    for name in (OLDER, FILE_NAME):
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
                f"the logbook {path} cannot be read: {error.strerror}",
                hint="run as a user who may read it, such as root",
            ) from error
