"""When one guest's nodes are read, and what of it is told.

Nodes are read when they stir, and no sooner than ``READING_PAUSE`` after the last time. All that
comes between two readings costs one, so a guest that rewrites its nodes two thousand times a second
is read ten times in it. But each of its writes also costs xenstored an event and us its receipt,
and that is taken from all the others. So a guest whose nodes stir more than ``STIRS_A_SECOND`` is
listened to no more: its watches are taken back, and for the rest of this incarnation its nodes are
read every ``READING_INTERVAL``. All it has lost by that is promptness.

What a guest wrote before it ended is read before its end is judged: as soon as it has been seen to
execute no more (where an agent has spoken, even if nothing stirred: an event may be lost), and,
because its nodes may go at the same moment, once without any pause when it says that it forces its
own end. After that nothing is read: that its nodes go while it is taken apart is no word of it.
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

#: Between two readings of a guest's nodes, in host seconds: however fast it rewrites them.
READING_PAUSE = 0.1

#: More changes than this in one host second are a flood. A kernel that comes up writes a handful
#: of nodes, and an agent tells its progress a few times a second.
STIRS_A_SECOND = 50

#: Between two readings of a guest that floods its nodes, in host seconds.
READING_INTERVAL = 1.0


class GuestReader:
    """Listens to one incarnation and reads its nodes when it is ``due``."""

    def __init__(self, channel: GuestChannel, clock: Clock, stirred: Callable[[], None]) -> None:
        """``stirred`` is called when a reading has become due for the first time since the last."""
        self.flooded = False
        self._speaks = False  # an agent has said something
        self._channel = channel
        self._clock = clock
        self._tell = stirred
        self._fresh = False
        self._after = -inf
        self._second = -inf
        self._stirs = 0
        self._last_word = paths.word(channel.domid, "forced")
        self._hurried = False
        self._ended = False
        self._over = False  # what it wrote before it ended has been read

    @property
    def due(self) -> float:
        """When the nodes are to be read; infinite while nothing is new."""
        return self._after if (self._fresh or self.flooded) and not self._over else inf

    def is_due(self, *, ends: bool) -> bool:
        """Say whether to read now; ``ends``: the domain has been seen to execute no more."""
        if ends:
            self._ended = True
            return not self._over and (self._speaks or self.due < inf)
        return self._clock.monotonic() >= self.due

    async def read(self, seconds: float) -> list[Event]:
        """Read the nodes; a reading that fails, or has no end for so long, is tried again."""
        guest, self._fresh = self._channel, False
        try:
            async with self._clock.timeout(seconds):
                await self._listen()
                poweroff_supported, request, words = await asyncio.gather(
                    guest.poweroff_supported(), guest.request(), guest.words()
                )
                given = await guest.given_before() if words is not None else NO_GRANTS
        except (TimeoutError, Unreachable, XenStoreError):
            self._fresh, self._after = True, self._clock.monotonic() + timing.RETRY_PAUSE
            return []
        self._over = self._ended
        self._speaks = self._speaks or words is not None
        now = self._clock.monotonic()
        self._after = now + (READING_INTERVAL if self.flooded else READING_PAUSE)
        heard = [AgentReport(now, guest.domid, words, given)] if words is not None else []
        return [
            *heard,
            PoweroffFeature(now, guest.domid, poweroff_supported),
            ShutdownNode(now, guest.domid, request),
        ]

    async def leave(self) -> None:
        """Listen no more; does not mind a lost connection."""
        try:
            await self._channel.leave()
        except (Unreachable, XenStoreError):
            return  # no connection, so no watch either

    async def _listen(self) -> None:
        if self.flooded:
            await self._channel.leave()
        elif not self._channel.listening:
            await self._channel.listen(self._stir)

    def _stir(self, path: str) -> None:
        now = self._clock.monotonic()
        if now >= self._second + 1.0:
            self._second, self._stirs = now, 0
        self._stirs += 1
        if self._stirs > STIRS_A_SECOND:
            self.flooded = True
        hurry = path == self._last_word and not self._hurried
        if hurry:
            self._hurried, self._after = True, now
        if hurry or not self._fresh:
            self._fresh = True
            self._tell()
