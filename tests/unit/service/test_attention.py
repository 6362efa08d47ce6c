"""When a guest's nodes are read: what is due, and when nothing is any more."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.service.attention import Attention
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

WHILE = 10.0


class Guest:
    """The nodes of a guest without an agent; the test stirs them."""

    domid = 1
    listening = False
    fails = False
    stir: Callable[[str], None]

    async def listen(self, stirred: Callable[[str], None]) -> None:
        self.listening, self.stir = True, stirred

    async def able(self) -> bool:
        if self.fails:
            raise XenStoreError("EIO", "read")
        return True

    async def request(self) -> bytes:
        return b""

    async def words(self) -> None:
        return None


async def attending() -> tuple[Guest, Attention]:
    """Return a guest that has been read once, and whose nodes have stirred since."""
    guest = Guest()
    attention = Attention(guest, CLOCK, lambda: None)  # type: ignore[arg-type]
    assert await attention.read(WHILE)
    assert attention.due == inf
    guest.stir("control/shutdown")
    assert attention.due < inf
    return guest, attention


def test_the_nodes_of_a_guest_that_has_ended_are_read_once_more_and_not_again() -> None:
    async def story() -> None:
        guest, attention = await attending()
        assert attention.is_due(ends=True)
        assert await attention.read(WHILE)
        guest.stir("control/shutdown")
        assert attention.due == inf
        assert not attention.is_due(ends=False)

    virtual.run(story())


def test_a_reading_that_fails_at_the_end_is_tried_again() -> None:
    async def story() -> None:
        guest, attention = await attending()
        assert attention.is_due(ends=True)
        guest.fails = True
        assert await attention.read(WHILE) == []
        assert attention.due < inf
        guest.fails = False
        assert await attention.read(WHILE)
        assert attention.due == inf

    virtual.run(story())
