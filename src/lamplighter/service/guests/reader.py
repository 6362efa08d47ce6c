"""Reads one guest's nodes when a watch fires, with a bound on how often.

Nodes are read when a watch fires, and no sooner than ``READING_PAUSE`` after the last time. All
changes between two readings cost one reading, so a guest that rewrites its nodes two thousand times
a second is read ten times in it. But each of its writes also costs xenstored an event and us its
receipt, at the expense of all other guests. So the watches of a guest that floods its nodes
(``FloodBound``) are removed, and for the rest of this incarnation its nodes are read every
``READING_INTERVAL``. All that it loses by that is promptness.

What a guest wrote before it ended is read before its end is judged: as soon as it has been seen to
execute no more (where an agent has reported, even if no watch fired: an event may be lost), and,
because its nodes may go at the same moment, once without any pause when it reports that it forces
its own end. After that nothing is read: that its nodes go while it is taken apart is not a report
of the guest's.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine import timing
from lamplighter.engine.events import AgentReport, Event, PoweroffFeature, ShutdownNode
from lamplighter.errors import Unreachable, XenStoreError
from lamplighter.formats.agent_protocol import NO_GRANTS
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.model.clock import Clock
    from lamplighter.service.guests.channel import GuestChannel

#: The shortest time between two readings of a guest's nodes, in host seconds.
READING_PAUSE = 0.1

#: The time between two readings of a guest that floods its nodes, in host seconds.
READING_INTERVAL = 1.0

#: More changes than this within one window are a flood.
FLOOD = 50

#: The window while a run listens, in host seconds. A kernel that comes up writes a handful of
#: nodes, and an agent reports its progress a few times a second.
FLOOD_WINDOW = 1.0


class FloodBound:
    """Counts the changes of one incarnation's nodes; ``exceeded`` stays once it is true."""

    def __init__(self, clock: Clock, window: float) -> None:
        """``window``: in how many host seconds more than ``FLOOD`` changes are too many."""
        self.exceeded = False
        self._clock = clock
        self._window = window
        self._began = -inf
        self._changes = 0

    def count(self) -> None:
        """Count one change."""
        now = self._clock.monotonic()
        if now >= self._began + self._window:
            self._began, self._changes = now, 0
        self._changes += 1
        self.exceeded |= self._changes > FLOOD


class GuestReader:
    """Watches the nodes of one incarnation and reads them when they are ``due``."""

    def __init__(self, channel: GuestChannel, clock: Clock, became_due: Callable[[], None]) -> None:
        """``became_due`` is called at the first change after a reading."""
        self._bound = FloodBound(clock, FLOOD_WINDOW)
        self._has_reported = False  # an agent has
        self._channel = channel
        self._clock = clock
        self._became_due = became_due
        self._changed = False
        self._after = -inf
        self._last_node = paths.agent_node(channel.domid, "forced")
        self._hurried = False
        self._ended = False
        self._over = False  # what it wrote before it ended has been read

    @property
    def flooded(self) -> bool:
        """Whether the guest has flooded its nodes, so that they are not watched any more."""
        return self._bound.exceeded

    @property
    def due(self) -> float:
        """When the nodes are to be read; infinite while nothing is new."""
        return self._after if (self._changed or self.flooded) and not self._over else inf

    def is_due(self, *, ends: bool) -> bool:
        """Return whether to read now; ``ends``: the domain has been seen to execute no more."""
        if ends:
            self._ended = True
            return not self._over and (self._has_reported or self.due < inf)
        return self._clock.monotonic() >= self.due

    async def read(self, seconds: float) -> list[Event]:
        """Read the nodes; a reading that fails, or takes longer than ``seconds``, is retried."""
        guest, self._changed = self._channel, False
        try:
            async with self._clock.timeout(seconds):
                if self.flooded:
                    await guest.leave()
                elif not guest.listening:
                    await guest.listen(self._node_changed)
                poweroff_supported, request, report = await asyncio.gather(
                    guest.poweroff_supported(), guest.request(), guest.report()
                )
                given = await guest.given_before() if report is not None else NO_GRANTS
        except (TimeoutError, Unreachable, XenStoreError):
            self._changed, self._after = True, self._clock.monotonic() + timing.RETRY_PAUSE
            return []
        self._over = self._ended
        self._has_reported = self._has_reported or report is not None
        now = self._clock.monotonic()
        self._after = now + (READING_INTERVAL if self.flooded else READING_PAUSE)
        reports = [AgentReport(now, guest.domid, report, given)] if report is not None else []
        return [
            *reports,
            PoweroffFeature(now, guest.domid, poweroff_supported),
            ShutdownNode(now, guest.domid, request),
        ]

    async def leave(self) -> None:
        """Remove the watches; a lost connection is not an error."""
        try:
            await self._channel.leave()
        except (Unreachable, XenStoreError):
            return  # without the connection there is no watch either

    def _node_changed(self, path: str) -> None:
        self._bound.count()
        hurry = path == self._last_node and not self._hurried
        if hurry:
            self._hurried, self._after = True, self._clock.monotonic()
        if hurry or not self._changed:
            self._changed = True
            self._became_due()
