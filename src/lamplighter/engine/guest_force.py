"""A guest that forces its own end, and says so: how the record tells it, and is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import quoted

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import Forced

#: How the note of a guest begins that forced its own end.
BY_THE_GUEST = "forced by the guest"

#: How the record begins of an incarnation that executes no more.
SHUT_DOWN = "shut down: "


def by_the_guest(forced: Forced) -> str:
    """Tell that a guest forces, or forced, its own end."""
    return f"{BY_THE_GUEST}: {quoted(forced.why)}" if forced.why else BY_THE_GUEST


def tells_of_guests_force(detail: str) -> bool:
    """Say whether a transition's detail tells that; not where it only quotes the guest."""
    shut_down, _, more = detail.partition(", ")
    return detail.startswith(BY_THE_GUEST) or (
        shut_down.startswith(SHUT_DOWN) and more.startswith(BY_THE_GUEST)
    )
