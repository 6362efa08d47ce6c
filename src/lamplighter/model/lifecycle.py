"""The one transition table of a domain's life during a run.

    absent -> creating -> booting -> up
    up -> asked -> acknowledged -> ended -> absent
    asked -> given-up -> asked | forcing          (the request is cleared before the next rung)
    acknowledged -> rebooting -> up -> asked      (it rebooted instead: look for its UUID again)
    forcing -> ended -> absent

``TRANSITIONS`` is the truth; everything that moves a domain goes through ``check_transition``,
and the table in ``docs/lifecycle.md`` is generated from it.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a domain is, as far as the run that moves it knows."""

    ABSENT = "absent"  # in no listing
    CREATING = "creating"  # the toolstack was told to create it
    BOOTING = "booting"  # it exists; its kernel has not advertised itself yet
    UP = "up"
    ASKED = "asked"  # the request stands in control/shutdown, or the button was pressed
    ACKNOWLEDGED = "acknowledged"  # the guest took the request
    GIVEN_UP = "given-up"  # a request went unanswered and was cleared
    FORCING = "forcing"  # the toolstack was told to destroy it
    REBOOTING = "rebooting"  # its last incarnation ended with a reboot
    ENDED = "ended"  # shut down or dying, still listed


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.ABSENT: frozenset({Phase.CREATING}),
    Phase.CREATING: frozenset({Phase.BOOTING, Phase.ABSENT}),
    Phase.BOOTING: frozenset({Phase.UP, Phase.REBOOTING, Phase.ENDED, Phase.ABSENT}),
    Phase.UP: frozenset(
        {Phase.ASKED, Phase.FORCING, Phase.ENDED, Phase.REBOOTING, Phase.ABSENT},
    ),
    Phase.ASKED: frozenset(
        {
            Phase.ACKNOWLEDGED,
            Phase.GIVEN_UP,
            Phase.FORCING,
            Phase.ENDED,
            Phase.REBOOTING,
            Phase.ABSENT,
        },
    ),
    Phase.ACKNOWLEDGED: frozenset(
        {Phase.FORCING, Phase.ENDED, Phase.REBOOTING, Phase.ABSENT},
    ),
    Phase.GIVEN_UP: frozenset(
        {
            Phase.ASKED,
            Phase.ACKNOWLEDGED,
            Phase.FORCING,
            Phase.ENDED,
            Phase.REBOOTING,
            Phase.ABSENT,
        },
    ),
    Phase.FORCING: frozenset({Phase.ENDED, Phase.REBOOTING, Phase.ABSENT}),
    Phase.REBOOTING: frozenset({Phase.UP, Phase.BOOTING, Phase.ENDED, Phase.ABSENT}),
    Phase.ENDED: frozenset({Phase.REBOOTING, Phase.UP, Phase.ABSENT}),
}


class ImpossibleTransition(AssertionError):
    """A defect of ours: the table has no such arrow."""


def check_transition(before: Phase, after: Phase) -> Phase:
    """Return ``after``; raise ``ImpossibleTransition`` when the table has no such arrow."""
    if after is not before and after not in TRANSITIONS[before]:
        raise ImpossibleTransition(f"{before.value} -> {after.value}")
    return after
