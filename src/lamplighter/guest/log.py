"""Lines on standard error, which systemd takes into its journal.

Late in a shutdown the journal may take nothing any more. Whoever then waits for it waits for ever,
so a line that cannot be written at once is lost.
"""

from __future__ import annotations

import os
import select

#: sd-daemon(3): what systemd takes for a line's level.
WARNING, INFO = "<4>", "<6>"

STANDARD_ERROR = 2


class Log:
    """Writes lines; ``marked``: with their level in front, for systemd's journal."""

    def __init__(self, *, marked: bool, descriptor: int = STANDARD_ERROR) -> None:
        self._marked = marked
        self._descriptor = descriptor

    def note(self, text: str) -> None:
        """Write a line about what happened."""
        self._line(INFO, text)

    def warn(self, text: str) -> None:
        """Write a line about what is wrong."""
        self._line(WARNING, text)

    def _line(self, level: str, text: str) -> None:
        told = "".join(c if c.isprintable() else "?" for c in text)
        line = f"{level if self._marked else 'lamplighter-agent: '}{told}\n"
        poll = select.poll()
        try:
            poll.register(self._descriptor, select.POLLOUT)
            if poll.poll(0):
                os.write(self._descriptor, line.encode("utf-8", "replace"))
        except (OSError, ValueError):  # closed, or none at all
            return
