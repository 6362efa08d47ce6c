"""The phases of a domain during a run, and the one table of the transitions between them.

    absent -> creating -> booting -> up
    up -> asked -> acknowledged -> ended -> absent
    asked -> given-up -> asked | forcing          (the request is cleared before the next step)
    acknowledged -> rebooting -> up -> asked      (it rebooted instead: find its UUID again)
    forcing -> ended -> absent

``TRANSITIONS`` is authoritative: every change of a domain's phase goes through
``check_transition``, and ``docs/lifecycle.md`` is generated from the table.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """The phase of a domain, as far as the run that handles it knows."""

    ABSENT = "absent"  # in no listing
    CREATING = "creating"  # the toolstack was asked to create it
    BOOTING = "booting"  # it exists; its kernel has not advertised itself yet
    UP = "up"
    ASKED = "asked"  # the request is in control/shutdown, or the power button was pressed
    ACKNOWLEDGED = "acknowledged"  # the guest accepted the request
    GIVEN_UP = "given-up"  # a request went unanswered and was cleared
    FORCING = "forcing"  # the toolstack was asked to destroy it
    REBOOTING = "rebooting"  # its last incarnation ended with a reboot
    ENDED = "ended"  # shut down or dying, still listed


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.ABSENT: frozenset({Phase.CREATING}),
    Phase.CREATING: frozenset({Phase.BOOTING, Phase.ABSENT}),
    Phase.BOOTING: frozenset(
        {Phase.UP, Phase.FORCING, Phase.REBOOTING, Phase.ENDED, Phase.ABSENT},
    ),
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
    """A defect in Lamplighter: the table has no such transition."""


def check_transition(before: Phase, after: Phase) -> Phase:
    """Return ``after``; raise ``ImpossibleTransition`` when the table has no such transition."""
    if after is not before and after not in TRANSITIONS[before]:
        raise ImpossibleTransition(f"{before.value} -> {after.value}")
    return after
