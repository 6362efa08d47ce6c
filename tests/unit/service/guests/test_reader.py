"""When a guest's nodes are read: what is due, and when nothing is any more."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.formats.agent_protocol import NO_GRANTS, Grants, parse_agent_nodes
from lamplighter.service.guests.reader import FLOOD, FloodBound, GuestReader
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.formats.agent_protocol import AgentStatus

WHILE = 10.0


class Guest:
    """The nodes of a guest without an agent; the test changes them."""

    domid = 1
    listening = False
    fails = False
    said: AgentStatus | None = None
    change: Callable[[str], None]

    async def listen(self, changed: Callable[[str], None]) -> None:
        self.listening, self.change = True, changed

    async def poweroff_supported(self) -> bool:
        if self.fails:
            raise XenStoreError("EIO", "read")
        return True

    async def request(self) -> bytes:
        return b""

    async def report(self) -> AgentStatus | None:
        return self.said

    async def given_before(self) -> Grants:
        return NO_GRANTS


async def attending() -> tuple[Guest, GuestReader]:
    """Return a guest that has been read once, and whose nodes have changed since."""
    guest = Guest()
    reader = GuestReader(guest, CLOCK, lambda: None)  # type: ignore[arg-type]
    assert await reader.read(WHILE)
    assert reader.due == inf
    guest.change("control/shutdown")
    assert reader.due < inf
    return guest, reader


def test_the_nodes_of_a_guest_that_has_ended_are_read_once_more_and_not_again() -> None:
    async def story() -> None:
        guest, reader = await attending()
        assert reader.is_due(ends=True)
        assert await reader.read(WHILE)
        guest.change("control/shutdown")
        assert reader.due == inf
        assert not reader.is_due(ends=False)

    virtual.run(story())


def test_an_agents_last_report_is_read_once_although_no_watch_fired() -> None:
    async def story() -> None:
        guest, reader = await attending()
        guest.said = parse_agent_nodes({"version": b"1 0.1"})
        assert await reader.read(WHILE)
        assert reader.due == inf
        assert reader.is_due(ends=True)
        assert await reader.read(WHILE)
        guest.change("data/lamplighter/progress")
        assert not reader.is_due(ends=True)

    virtual.run(story())


def test_a_reading_that_fails_at_the_end_is_tried_again() -> None:
    async def story() -> None:
        guest, reader = await attending()
        assert reader.is_due(ends=True)
        guest.fails = True
        assert await reader.read(WHILE) == []
        assert reader.due < inf
        guest.fails = False
        assert await reader.read(WHILE)
        assert reader.due == inf

    virtual.run(story())


def test_many_changes_within_one_window_are_a_flood_and_as_many_in_two_are_not() -> None:
    async def story() -> None:
        bound = FloodBound(CLOCK, 60.0)
        for _ in range(2):
            for _ in range(FLOOD):
                bound.count()
            assert not bound.exceeded
            await CLOCK.sleep(60)
        for _ in range(FLOOD + 1):
            bound.count()
        assert bound.exceeded
        await CLOCK.sleep(120)
        bound.count()
        assert bound.exceeded, "for good"

    virtual.run(story())
