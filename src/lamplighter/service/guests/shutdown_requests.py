"""Who was asked to shut down, seen in ``control/shutdown``.

The control side writes a word there and the guest clears it, often before it can be read: then an
event came and the node is as empty as before. That, too, was a request.

The node is the guest's to write. It may write without end, or what it likes: a domain costs at most
``STIRS`` readings, and after a request, or after that many, nobody listens to it any more. What a
guest could gain is to have its own end called another tool's.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import LamplighterError, Unreachable, XenStoreError
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch

#: The words that end a domain. A suspended one ends with a reason of its own, or goes on.
WORDS = {b"poweroff": "power off", b"reboot": "reboot", b"halt": "halt"}

#: How often one domain's node is looked at.
STIRS = 50

#: Nothing has been read yet: whatever is there now is older than the watch.
_UNREAD = b"?"


class _Ear(NamedTuple):
    """The watch on one domain's node, and how often it has fired."""

    watch: Watch
    stirs: int = 0


class ShutdownRequests:
    """Listens to every domain that it is told of; ``asked`` has what was heard, by domid.

    ``doubtful`` are those of them that were asked while a run of ours may have done it.
    """

    def __init__(self, xenstore: XenStore, ours: Callable[[], bool]) -> None:
        """``ours`` says whether a run of ours is stopping domains now."""
        self.asked: dict[int, str] = {}
        self.doubtful: set[int] = set()
        self._ours = ours
        self._xenstore = xenstore
        self._domids: set[int] = set()
        self._ears: dict[int, _Ear] = {}
        self._left: set[int] = set()
        self._values: dict[int, bytes | None] = {}
        self._stirred: dict[int, None] = {}
        self._news = asyncio.Event()

    def attend(self, domids: Collection[int]) -> None:
        """Listen to these domains from now on, and to no other."""
        self._domids = set(domids)
        self._left &= self._domids
        self.doubtful &= self._domids
        for known in (self.asked, self._values, self._stirred):
            for domid in known.keys() - self._domids:
                del known[domid]
        self._news.set()

    def begin_anew(self) -> None:
        """The connection is lost: what the watches tell next is not news."""
        self._values.clear()

    async def listen(self) -> None:
        """Do it for as long as the task lives."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._follow()
            except (Unreachable, XenStoreError):
                continue  # the connection's return stirs every watch again, and the owner attends

    async def _follow(self) -> None:
        for domid in self._ears.keys() - self._domids:
            await self._leave(domid)
        for domid in self._domids - self._ears.keys() - self._left:
            stir = partial(self._stir, domid)
            watch = await self._xenstore.watch(paths.control_shutdown(domid), stir)
            self._ears[domid] = _Ear(watch)
        while self._stirred:
            domid = next(iter(self._stirred))
            del self._stirred[domid]
            with suppress(XenStoreError):  # of this domain alone
                await self._read(domid)

    def _stir(self, domid: int, _path: str) -> None:
        self._stirred[domid] = None
        self._news.set()

    async def _read(self, domid: int) -> None:
        ear = self._ears.get(domid)
        if ear is None:
            return
        self._ears[domid] = ear._replace(stirs=ear.stirs + 1)
        before = self._values.get(domid, _UNREAD)
        value = await self._xenstore.read_or_none(paths.control_shutdown(domid))
        self._values[domid] = value
        if value in WORDS:
            self.asked[domid] = WORDS[value]
        elif before == b"" and value == b"":
            self.asked[domid] = ""
        if domid in self.asked and self._ours():
            self.doubtful.add(domid)
        if domid in self.asked or ear.stirs >= STIRS:
            self._left.add(domid)
            await self._leave(domid)

    async def _leave(self, domid: int) -> None:
        ear = self._ears.pop(domid)
        try:
            await self._xenstore.unwatch(ear.watch)
        except LamplighterError:
            return  # no connection, so no watch either
