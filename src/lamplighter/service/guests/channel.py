"""What is said to one guest through XenStore, and what it answers.

Everything read here was written by the guest: bytes, of any content, at any rate. Nothing of it
is believed beyond the few values that are looked for. Whatever is written goes in a transaction
that first looks whether the domain is still there, because a write to a domain that has gone would
leave nodes behind that nobody owns.

A guest that has said its version has an agent: it is told how long it has, and answered. That is
beside the point, and what goes wrong with it never disturbs the request itself. The nodes below
``data/lamplighter`` are the guest's own, so it can make a transaction that touches them fail: by
rewriting them without pause, or, where its quota counts what others write there, by using it up.
Then the request is written, or taken back, without them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from lamplighter.errors import XenStoreError
from lamplighter.formats import agent_protocol
from lamplighter.formats.agent_protocol import GUEST_NODES, NO_GRANTS
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.formats.agent_protocol import AgentWords, Answer, Grants
    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch

T = TypeVar("T")

POWEROFF = b"poweroff"

#: How often a transaction is tried that has a note for an agent in it: the guest can make each of
#: them conflict, and nothing depends on the note.
NOTE_ATTEMPTS = 4


class GuestChannel:
    """The nodes of one incarnation."""

    def __init__(self, xenstore: XenStore, domid: int, number: int = 1) -> None:
        """``number`` is that of the first note; one that no other run on any host is likely to use.

        The guest takes a note with another number for another request.
        """
        self.domid = domid
        self._number = number
        self._xenstore = xenstore
        self._request = paths.control_shutdown(domid)
        self._feature = paths.feature_poweroff(domid)
        self._nodes = (self._request, self._feature, paths.words(domid))
        self._watches: list[Watch] = []
        self._agent: bool | None = None  # not looked yet
        self._given: Grants | None = None  # not looked yet

    @property
    def listening(self) -> bool:
        """True once all nodes are watched; the client keeps it so through a reconnect."""
        return len(self._watches) == len(self._nodes)

    async def listen(self, stirred: Callable[[str], None]) -> None:
        """Call ``stirred`` whenever one of the guest's words may have changed."""
        for path in self._nodes[len(self._watches) :]:
            self._watches.append(await self._xenstore.watch(path, stirred))

    async def leave(self) -> None:
        """Listen no more."""
        watches, self._watches = self._watches, []
        for watch in watches:
            await self._xenstore.unwatch(watch)

    # --- what the guest says ---

    async def poweroff_supported(self) -> bool | None:
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

    async def words(self) -> AgentWords | None:
        """Return what an agent in the guest says; None: there is none, or it cannot be read.

        A guest without an agent costs one read.
        """
        version, *others = GUEST_NODES
        try:
            values = {version: await self._word(version)}
            self._agent = agent_protocol.parse_agent_nodes(values) is not None
            if not self._agent:
                return None
            read = await asyncio.gather(*map(self._word, others))
        except XenStoreError:
            return None
        return agent_protocol.parse_agent_nodes(values | dict(zip(others, read, strict=True)))

    async def given_before(self) -> Grants:
        """Return what was given to requests for more time before this run gave anything."""
        if self._given is None:
            with suppress(XenStoreError):
                answer, granted = await asyncio.gather(self._word("answer"), self._word("granted"))
                self._given = agent_protocol.parse_grants(answer, granted)
        return self._given or NO_GRANTS

    async def _word(self, name: str) -> bytes | None:
        return await self._xenstore.read_or_none(paths.word(self.domid, name))

    # --- what is said to it ---

    async def ask(self, seconds: float | None = None, granted: int = 0) -> None:
        """Write the request to power off.

        An agent is told that the domain is destroyed in so many host seconds; None: it is not. Of
        these so many were ``granted`` to it before.
        """
        noted = seconds is not None and await self._has_agent()

        async def request(tx: int) -> None:
            await self._there(tx)
            await self._xenstore.write(self._request, POWEROFF, tx)

        async def request_and_note(tx: int) -> None:
            await request(tx)
            assert seconds is not None, "there is a note"
            with suppress(XenStoreError):
                await self._write_note(seconds, granted, tx)

        await self._transact(request, request_and_note if noted else None)

    async def note(self, seconds: float, granted: int = 0) -> None:
        """Tell an agent alone what ``ask`` tells it: the guest has had the request before."""

        async def body(tx: int) -> None:
            await self._there(tx)
            await self._write_note(seconds, granted, tx)

        if await self._has_agent():
            await self._xenstore.transact(body, NOTE_ATTEMPTS)

    async def _write_note(self, seconds: float, granted: int, tx: int) -> None:
        """Another note than the one that stands there, even where it leaves as much time."""
        path = paths.word(self.domid, "asked")
        before = agent_protocol.parse_deadline_note(await self._xenstore.read_or_none(path, tx))
        number = self._number if before is None else before.number + 1
        note = agent_protocol.DeadlineNote(POWEROFF.decode(), int(seconds), number)
        await self._xenstore.write(path, agent_protocol.encode_deadline_note(note), tx)
        if granted:
            value = agent_protocol.encode_granted(granted)
            await self._xenstore.write(paths.word(self.domid, "granted"), value, tx)

    async def clear_request(self) -> bool:
        """Take the request back; say whether the guest had acknowledged it before that."""

        async def clear(tx: int) -> bool:
            await self._there(tx)
            value = await self._xenstore.read(self._request, tx)
            if value:
                await self._xenstore.write(self._request, b"", tx)
            return not value

        async def clear_and_note(tx: int) -> bool:
            taken = await clear(tx)
            if not taken:
                await self._forget(tx)
            return taken

        try:
            taken = await self._transact(clear, clear_and_note if self._agent else None)
            if not taken and self._agent is not False:
                # Where the note was in the way above, it must not outlive what it stood for.
                await self._forget()
            return taken
        except XenStoreError as error:
            if error.name == "ENOENT":
                return True
            raise

    async def answer(self, answer: Answer, granted: int = 0) -> None:
        """Answer a request for more time; ``granted``: so many seconds were, all together."""
        values = {
            "granted": agent_protocol.encode_granted(granted),
            "answer": agent_protocol.encode_answer(answer),
        }

        async def body(tx: int) -> None:
            await self._there(tx)
            for name, value in values.items():
                await self._xenstore.write(paths.word(self.domid, name), value, tx)

        await self._xenstore.transact(body, NOTE_ATTEMPTS)

    async def _forget(self, tx: int = 0) -> None:
        """Take away what goes with a request that is taken back."""
        for name in ("asked", "granted"):
            with suppress(XenStoreError):
                await self._xenstore.rm(paths.word(self.domid, name), tx)

    async def _has_agent(self) -> bool:
        if self._agent is None:
            await self.words()
        return bool(self._agent)

    async def _there(self, tx: int) -> None:
        await self._xenstore.read(paths.vm(self.domid), tx)

    async def _transact(
        self,
        bare: Callable[[int], Awaitable[T]],
        noted: Callable[[int], Awaitable[T]] | None,
    ) -> T:
        """Do it with the note, if there is one; or else without it, if the note is in the way."""
        if noted is not None:
            with suppress(XenStoreError):
                return await self._xenstore.transact(noted, NOTE_ATTEMPTS)
        return await self._xenstore.transact(bare)
