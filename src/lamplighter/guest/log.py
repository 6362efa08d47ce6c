"""The agent's log on standard error, which systemd adds to its journal.

Late in a shutdown the journal may accept nothing any more, and a write would block for ever. So a
line that cannot be written at once is dropped.
"""

from __future__ import annotations

import os
import select

#: The prefixes that systemd takes for a line's level (sd-daemon(3)).
WARNING, INFO = "<4>", "<6>"

STANDARD_ERROR = 2


class Log:
    """Writes lines; ``marked``: prefixed with their level for systemd's journal."""

    def __init__(self, *, marked: bool, descriptor: int = STANDARD_ERROR) -> None:
        self._marked = marked
        self._descriptor = descriptor

    def note(self, text: str) -> None:
        """Write an informational line."""
        self._line(INFO, text)

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._line(WARNING, text)

    def _line(self, level: str, text: str) -> None:
        text = "".join(c if c.isprintable() else "?" for c in text)
        line = f"{level if self._marked else 'lamplighter-agent: '}{text}\n"
        poll = select.poll()
        try:
            poll.register(self._descriptor, select.POLLOUT)
            if poll.poll(0):
                os.write(self._descriptor, line.encode("utf-8", "replace"))
        except (OSError, ValueError):  # standard error is closed, or there is none
            return
