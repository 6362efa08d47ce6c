"""What is said to one guest through XenStore, and what it answers.

Everything read here was written by the guest: bytes, of any content, at any rate. Nothing of it
is believed beyond the few values that are looked for. Requests are written in a transaction that
first looks whether the domain is still there, because a write to a domain that has gone would
leave nodes behind that nobody owns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.host.xenstore import XenStore
    from lamplighter.host.xenstore_link import Watch

POWEROFF = b"poweroff"


class Conversation:
    """The nodes of one incarnation."""

    def __init__(self, xenstore: XenStore, domid: int) -> None:
        self.domid = domid
        self._xenstore = xenstore
        self._request = paths.control_shutdown(domid)
        self._feature = paths.feature_poweroff(domid)
        self._watches: list[Watch] = []

    @property
    def listening(self) -> bool:
        """True once both nodes are watched; the client keeps it so through a reconnect."""
        return len(self._watches) == 2

    async def listen(self, stirred: Callable[[str], None]) -> None:
        """Call ``stirred`` whenever one of the guest's words may have changed."""
        for path in (self._request, self._feature)[len(self._watches) :]:
            self._watches.append(await self._xenstore.watch(path, stirred))

    async def leave(self) -> None:
        """Listen no more."""
        watches, self._watches = self._watches, []
        for watch in watches:
            await self._xenstore.unwatch(watch)

    async def able(self) -> bool | None:
        """Say whether the kernel takes requests to power off; None: it has not said."""
        value = await self._xenstore.read_or_none(self._feature)
        return {b"1": True, b"0": False}.get(value or b"")

    async def request(self) -> bytes | None:
        """Return what stands in ``control/shutdown``; None: the domain has gone with its nodes.

        A guest may acknowledge by removing the node; that reads as empty, too.
        """
        value = await self._xenstore.read_or_none(self._request)
        if value is None and await self._xenstore.read_or_none(paths.vm(self.domid)) is not None:
            return b""
        return value

    async def ask(self) -> None:
        """Write the request to power off."""

        async def body(tx: int) -> None:
            await self._there(tx)
            await self._xenstore.write(self._request, POWEROFF, tx)

        await self._xenstore.transact(body)

    async def take_back(self) -> bool:
        """Take the request back; say whether the guest had acknowledged it before that."""

        async def body(tx: int) -> bool:
            await self._there(tx)
            value = await self._xenstore.read(self._request, tx)
            if value:
                await self._xenstore.write(self._request, b"", tx)
            return not value

        try:
            return await self._xenstore.transact(body)
        except XenStoreError as error:
            if error.name == "ENOENT":
                return True
            raise

    async def _there(self, tx: int) -> None:
        await self._xenstore.read(paths.vm(self.domid), tx)
