"""The journal's text for a guest that forced its own end: writing and recognising it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import quoted

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import Forced

#: How the note on a guest that forced its own end begins.
BY_THE_GUEST = "forced by the guest"

#: How the record of an incarnation that has shut down begins.
SHUT_DOWN = "shut down: "


def by_the_guest(forced: Forced) -> str:
    """Return the note that a guest forces, or forced, its own end."""
    return f"{BY_THE_GUEST}: {quoted(forced.why)}" if forced.why else BY_THE_GUEST


def is_guest_force(detail: str) -> bool:
    """Return whether a transition's detail says that; a mere quotation of the guest does not."""
    shut_down, _, more = detail.partition(", ")
    return detail.startswith(BY_THE_GUEST) or (
        shut_down.startswith(SHUT_DOWN) and more.startswith(BY_THE_GUEST)
    )
