"""Watches ``control/shutdown`` for the monitor: which domains were asked to shut down.

A toolstack writes a request there and the guest clears it, often before it can be read: then a
watch fired and the node is as empty as before. That was a request, too.

The node is the guest's to write: without end, and with any value. After a request, or a flood of
changes (``FloodBound``), the domain's node is not watched any more. All that a guest can achieve is
that its own end is put down to another tool.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import LamplighterError, Unreachable, XenStoreError
from lamplighter.service.guests.reader import FloodBound
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch
    from lamplighter.model.clock import Clock

#: The requests that end a domain. A suspended one ends with a reason of its own, or goes on.
REQUESTS = {b"poweroff": "power off", b"reboot": "reboot", b"halt": "halt"}

#: The window in which too many changes are a flood, in host seconds. It is far longer than a run's:
#: the monitor lives as long as the host and is to be idle, while a few requests are all that a
#: domain gets, and a few suspensions an hour, by which it is saved or migrated.
FLOOD_WINDOW = 3600.0

#: Nothing has been read yet: whatever is there now is older than the watch.
_UNREAD = b"?"


class _Watched(NamedTuple):
    """The watch on one domain's node, and the bound on how often it fires."""

    watch: Watch
    bound: FloodBound


class ShutdownRequests:
    """Watches every domain that it is given; ``asked`` has the requests seen, by domid.

    ``doubtful`` are the domids that were asked while a run of Lamplighter may have done it.
    """

    def __init__(self, xenstore: XenStore, clock: Clock, ours: Callable[[], bool]) -> None:
        """``ours`` returns whether a run of Lamplighter is stopping domains now."""
        self.asked: dict[int, str] = {}
        self.doubtful: set[int] = set()
        self._ours = ours
        self._xenstore = xenstore
        self._clock = clock
        self._domids: set[int] = set()
        self._watched: dict[int, _Watched] = {}
        self._left: set[int] = set()
        self._values: dict[int, bytes | None] = {}
        self._changed: dict[int, None] = {}  # in order
        self._news = asyncio.Event()

    def attend(self, domids: Collection[int]) -> None:
        """Watch these domains from now on, and no others."""
        self._domids = set(domids)
        self._left &= self._domids
        self.doubtful &= self._domids
        for known in (self.asked, self._values, self._changed):
            for domid in known.keys() - self._domids:
                del known[domid]
        self._news.set()

    def connection_lost(self) -> None:
        """Forget the values: that the watches fire with the next connection is not news."""
        self._values.clear()

    async def listen(self) -> None:
        """Watch and read for as long as the task lives."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                for domid in self._watched.keys() - self._domids:
                    await self._leave(domid)
                for domid in self._domids - self._watched.keys() - self._left:
                    bound = FloodBound(self._clock, FLOOD_WINDOW)
                    fired = partial(self._node_changed, domid, bound)
                    watch = await self._xenstore.watch(paths.control_shutdown(domid), fired)
                    self._watched[domid] = _Watched(watch, bound)
                while self._changed:
                    domid = next(iter(self._changed))
                    del self._changed[domid]
                    if domid not in self._watched:
                        continue
                    try:
                        value = await self._xenstore.read_or_none(paths.control_shutdown(domid))
                    except XenStoreError:
                        continue  # of this domain alone
                    before, self._values[domid] = self._values.get(domid, _UNREAD), value
                    if value in REQUESTS:
                        self.asked[domid] = REQUESTS[value]
                    elif before == b"" and value == b"":
                        self.asked[domid] = ""
                    if domid in self.asked and self._ours():
                        self.doubtful.add(domid)
                    if domid in self.asked or self._watched[domid].bound.exceeded:
                        self._left.add(domid)
                        await self._leave(domid)
            except (Unreachable, XenStoreError):
                continue  # every watch fires again with the next connection, and the owner attends

    def _node_changed(self, domid: int, bound: FloodBound, _path: str) -> None:
        bound.count()
        self._changed[domid] = None
        self._news.set()

    async def _leave(self, domid: int) -> None:
        watched = self._watched.pop(domid)
        try:
            await self._xenstore.unwatch(watched.watch)
        except LamplighterError:
            return  # without the connection there is no watch either
