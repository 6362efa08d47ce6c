"""What a person is shown of a guest's own words.

They are the guest's, so whoever prints them does it as with any other text of a guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import GuestWords


def doing(words: GuestWords) -> str:
    """Say what the guest does to come to its end; empty when it has not said."""
    if words.forced is not None:
        why = f": {words.forced.why}" if words.forced.why else ""
        return f"forces its own {words.forced.request}{why}"
    return str(words.progress) if words.progress is not None else ""


def condition(words: GuestWords) -> str:
    """Say how a guest is: whether it is ready, and what it says that it does."""
    told = doing(words)
    if words.ready is False:
        ready = f"not ready: {words.waits_for}" if words.waits_for else "not ready"
        return f"{ready}; {told}" if told else ready
    return told or ("ready" if words.ready else f"agent {words.version}")
