"""The clock: the one place in the guest that reads the time.

It is ``CLOCK_MONOTONIC``, which does not count the time that a domain spent saved or migrating. A
guest that is saved in the middle of its shutdown, and restored an hour later, has then what was
left of its deadline; on ``CLOCK_BOOTTIME`` it would be forced off the moment that it is back, in
the middle of writing its files. The price is that the host's own deadline, which does count, may
come first: then the host ends the guest, as it would any other. The clock is one for all processes
of a system, so the agent's moments mean the same to the guard.
"""

from __future__ import annotations

from math import ceil, inf
from time import monotonic as now

__all__ = ["milliseconds", "now"]

#: The longest that poll(2) is asked to wait at once; it takes a 32-bit number of milliseconds.
LONGEST = 86400.0


def milliseconds(seconds: float) -> int | None:
    """Return a time-out for poll(2) that never ends early; None, for ever, where it is infinite."""
    return None if seconds == inf else ceil(min(max(0.0, seconds), LONGEST) * 1000)
