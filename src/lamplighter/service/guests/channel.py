"""The channel to one guest: reads what it reports in XenStore, writes requests and answers.

Everything read here was written by the guest: any bytes, at any rate. Nothing of it is believed
beyond the few values that are looked for. Everything is written in a transaction that first checks
that the domain is still there, because a write to a domain that has gone would leave nodes behind
that nobody owns.

A guest that has written its version has an agent, which gets a note on its deadline and answers.
The shutdown does not depend on that, and no failure of it disturbs the request itself. The nodes
below ``data/lamplighter`` are the guest's own, so it can make a transaction that touches them fail:
by rewriting them without pause, or, where its quota counts what others write there, by using it up.
Then the request is written, or cleared, without them.
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

    from lamplighter.formats.agent_protocol import AgentStatus, Answer, Grants
    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.host.xenstore.connection import Watch

T = TypeVar("T")

POWEROFF = b"poweroff"

#: How often a transaction with a note for the agent in it is tried: the guest can make each of them
#: conflict, and nothing depends on the note.
NOTE_ATTEMPTS = 4


class GuestChannel:
    """The nodes of one incarnation."""

    def __init__(self, xenstore: XenStore, domid: int, number: int = 1) -> None:
        """``number`` is that of the first note; no other run on any host should use the same.

        The guest takes a note with another number for another request.
        """
        self.domid = domid
        self._number = number
        self._xenstore = xenstore
        self._request = paths.control_shutdown(domid)
        self._feature = paths.feature_poweroff(domid)
        self._nodes = (self._request, self._feature, paths.agent(domid))
        self._watches: list[Watch] = []
        self._agent: bool | None = None  # None: not read yet
        self._given: Grants | None = None  # None: not read yet

    @property
    def listening(self) -> bool:
        """True once all nodes are watched; the client sets the watches again when it reconnects."""
        return len(self._watches) == len(self._nodes)

    async def listen(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with the path whenever one of the guest's nodes may have changed."""
        for path in self._nodes[len(self._watches) :]:
            self._watches.append(await self._xenstore.watch(path, changed))

    async def leave(self) -> None:
        """Remove the watches."""
        watches, self._watches = self._watches, []
        for watch in watches:
            await self._xenstore.unwatch(watch)

    # --- what the guest reports ---

    async def poweroff_supported(self) -> bool | None:
        """Return whether the kernel takes requests to power off; None: it has not reported that."""
        value = await self._xenstore.read_or_none(self._feature)
        return {b"1": True, b"0": False}.get(value or b"")

    async def request(self) -> bytes | None:
        """Return the value of ``control/shutdown``; None: the domain has gone with its nodes.

        A guest may acknowledge by removing the node; that is returned as empty, too.
        """
        value = await self._xenstore.read_or_none(self._request)
        if value is None and await self._xenstore.read_or_none(paths.vm(self.domid)) is not None:
            return b""
        return value

    async def report(self) -> AgentStatus | None:
        """Return what an agent in the guest reports; None: there is none, or it cannot be read.

        A guest without an agent costs one read.
        """
        version, *others = GUEST_NODES
        try:
            values = {version: await self._read_node(version)}
            self._agent = agent_protocol.parse_agent_nodes(values) is not None
            if not self._agent:
                return None
            read = await asyncio.gather(*map(self._read_node, others))
        except XenStoreError:
            return None
        return agent_protocol.parse_agent_nodes(values | dict(zip(others, read, strict=True)))

    async def given_before(self) -> Grants:
        """Return what was granted to requests for more time before this run granted anything."""
        if self._given is None:
            with suppress(XenStoreError):
                answer, granted = await asyncio.gather(
                    self._read_node("answer"), self._read_node("granted")
                )
                self._given = agent_protocol.parse_grants(answer, granted)
        return self._given or NO_GRANTS

    async def _read_node(self, name: str) -> bytes | None:
        return await self._xenstore.read_or_none(paths.agent_node(self.domid, name))

    # --- what it is sent ---

    async def ask(self, seconds: float | None = None, granted: int = 0) -> None:
        """Write the request to power off.

        ``seconds``: in how many host seconds the domain is destroyed, for the agent; None: never.
        ``granted`` of these were granted at its request.
        """
        with_note = seconds is not None and await self._has_agent()

        async def request(tx: int) -> None:
            await self._check_present(tx)
            await self._xenstore.write(self._request, POWEROFF, tx)

        async def request_and_note(tx: int) -> None:
            await request(tx)
            assert seconds is not None, "there is a note"
            with suppress(XenStoreError):
                await self._write_note(seconds, granted, tx)

        await self._transact(request, request_and_note if with_note else None)

    async def note(self, seconds: float, granted: int = 0) -> None:
        """Write only the note of ``ask`` for an agent: the guest already has the request."""

        async def body(tx: int) -> None:
            await self._check_present(tx)
            await self._write_note(seconds, granted, tx)

        if await self._has_agent():
            await self._xenstore.transact(body, NOTE_ATTEMPTS)

    async def _write_note(self, seconds: float, granted: int, tx: int) -> None:
        """Write a note that differs from the one there, even where it leaves as much time."""
        path = paths.agent_node(self.domid, "asked")
        before = agent_protocol.parse_deadline_note(await self._xenstore.read_or_none(path, tx))
        number = self._number if before is None else before.number + 1
        note = agent_protocol.DeadlineNote(POWEROFF.decode(), int(seconds), number)
        await self._xenstore.write(path, agent_protocol.encode_deadline_note(note), tx)
        if granted:
            value = agent_protocol.encode_granted(granted)
            await self._xenstore.write(paths.agent_node(self.domid, "granted"), value, tx)

    async def clear_request(self) -> bool:
        """Clear the request; return whether the guest had acknowledged it before that."""

        async def clear(tx: int) -> bool:
            await self._check_present(tx)
            value = await self._xenstore.read(self._request, tx)
            if value:
                await self._xenstore.write(self._request, b"", tx)
            return not value

        async def clear_and_note(tx: int) -> bool:
            acknowledged = await clear(tx)
            if not acknowledged:
                await self._remove_note(tx)
            return acknowledged

        try:
            acknowledged = await self._transact(clear, clear_and_note if self._agent else None)
            if not acknowledged and self._agent is not False:
                # Where the note made the transaction above fail, it must not outlive its request.
                await self._remove_note()
            return acknowledged
        except XenStoreError as error:
            if error.name == "ENOENT":
                return True
            raise

    async def answer(self, answer: Answer, granted: int = 0) -> None:
        """Answer a request for more time; ``granted`` is how many seconds were granted in total."""
        values = {
            "granted": agent_protocol.encode_granted(granted),
            "answer": agent_protocol.encode_answer(answer),
        }

        async def body(tx: int) -> None:
            await self._check_present(tx)
            for name, value in values.items():
                await self._xenstore.write(paths.agent_node(self.domid, name), value, tx)

        await self._xenstore.transact(body, NOTE_ATTEMPTS)

    async def _remove_note(self, tx: int = 0) -> None:
        """Remove the note that goes with a request."""
        for name in ("asked", "granted"):
            with suppress(XenStoreError):
                await self._xenstore.rm(paths.agent_node(self.domid, name), tx)

    async def _has_agent(self) -> bool:
        if self._agent is None:
            await self.report()
        return bool(self._agent)

    async def _check_present(self, tx: int) -> None:
        await self._xenstore.read(paths.vm(self.domid), tx)

    async def _transact(
        self,
        bare: Callable[[int], Awaitable[T]],
        noted: Callable[[int], Awaitable[T]] | None,
    ) -> T:
        """Run ``noted``; if there is none, or the note makes it fail, run ``bare``."""
        if noted is not None:
            with suppress(XenStoreError):
                return await self._xenstore.transact(noted, NOTE_ATTEMPTS)
        return await self._xenstore.transact(bare)
