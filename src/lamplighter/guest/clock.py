"""The agent's clock: the only place in the guest that reads the time.

It is ``CLOCK_MONOTONIC``, which does not count the time that a domain spent saved or migrating. A
guest that is saved in the middle of its shutdown and restored an hour later still has the rest of
its deadline; on ``CLOCK_BOOTTIME`` it would be forced off as soon as it is back, in the middle of
writing its files. The drawback: the host's own deadline does count that time and may come first.
Then the host destroys the guest, as it would any other. All processes of a system share the clock,
so the agent's times are valid in the guard.
"""

from __future__ import annotations

from math import ceil, inf
from time import monotonic as now

__all__ = ["milliseconds", "now"]

#: The longest time-out for poll(2), in seconds; it takes a 32-bit number of milliseconds.
LONGEST = 86400.0


def milliseconds(seconds: float) -> int | None:
    """Return a time-out for poll(2), rounded up and at most ``LONGEST``; None: no time-out."""
    return None if seconds == inf else ceil(min(max(0.0, seconds), LONGEST) * 1000)
