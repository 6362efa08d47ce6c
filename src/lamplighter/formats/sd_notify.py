"""Encodes the datagrams of sd_notify(3), with which a service reports its state to systemd.

A datagram is a list of ``NAME=value`` lines. systemd drops one of more than 4096 bytes, and a
status that is not UTF-8. The status contains names that guests' owners chose, so it is kept to one
line that cannot become another assignment, and to a readable length.
"""

from __future__ import annotations

#: A longer status is cut; bytes of UTF-8.
LONGEST_STATUS = 1000

_CUT = "..."
_UNPRINTABLE = "\ufffd"
_MICROSECONDS = 1_000_000


def encode(
    *,
    ready: bool = False,
    stopping: bool = False,
    watchdog: bool = False,
    status: str | None = None,
    extend: float | None = None,
) -> bytes:
    """Return a datagram; ``extend`` asks that the time-out be this many seconds from now."""
    lines = []
    if ready:
        lines.append("READY=1")
    if stopping:
        lines.append("STOPPING=1")
    if watchdog:
        lines.append("WATCHDOG=1")
    if extend is not None:
        lines.append(f"EXTEND_TIMEOUT_USEC={max(0, round(extend * _MICROSECONDS))}")
    if status is not None:
        lines.append(f"STATUS={status_line(status)}")
    return "\n".join(lines).encode()


def status_line(text: str) -> str:
    """Return the text as one printable line of at most ``LONGEST_STATUS`` bytes."""
    line = "".join(c if c.isprintable() else _UNPRINTABLE for c in text)
    encoded = line.encode()
    if len(encoded) <= LONGEST_STATUS:
        return line
    # A character that was cut in two is dropped.
    return encoded[: LONGEST_STATUS - len(_CUT)].decode(errors="ignore") + _CUT
