"""What a stop came to, told from what was seen: the one place that says ``clean``.

``clean`` needs a power-off (or a reboot) of the domain's own that was seen or is on record. A
domain that is gone and whose end nobody saw is ``unknown``, however likely a good end is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine.events import Finish
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.outcome import Outcome

if TYPE_CHECKING:
    from lamplighter.engine.standing import Ladder


def verdict(ladder: Ladder) -> Finish:
    """Tell how the domain's stop ended, once it is over."""
    finish = _of_own_force(ladder) if ladder.forced else _of_reason(ladder)
    notes = [finish.note, *ladder.remarks]
    return Finish(finish.outcome, "; ".join(note for note in notes if note), finish.good)


def _of_own_force(ladder: Ladder) -> Finish:
    if ladder.abandoned:
        return Finish(Outcome.ALREADY, "half made and never run: taken away")
    if ladder.destroy_wanted:
        return Finish(Outcome.FORCED, "destroyed, as its policy says")
    took = f"{ladder.stop_timeout:g} s"
    if ladder.acknowledged:
        note = f"it acknowledged the request but did not end within {took}: destroyed"
    else:
        note = f"it did not acknowledge {_times(ladder.requests)} within {took}: destroyed"
    return Finish(Outcome.FORCED, note, good=False)


def _of_reason(ladder: Ladder) -> Finish:
    reason = ladder.reason
    if reason is ShutdownReason.SUSPEND and ladder.destroys:
        note = f"another tool had suspended it and did not end it within {ladder.stop_timeout:g} s"
        return Finish(Outcome.FAILED, f"{note}: destroyed", good=False)
    if ladder.begun_ended:
        told = reason.name.lower() if reason else "being destroyed"
        return Finish(Outcome.ALREADY, f"it had already ended before it was asked ({told})")
    match reason:
        case ShutdownReason.POWEROFF:
            quietly = "" if ladder.acknowledged else "it powered off without acknowledging"
            return Finish(Outcome.CLEAN, quietly)
        case ShutdownReason.REBOOT:
            return Finish(Outcome.CLEAN, "it ended with a reboot and nobody started it again")
        case ShutdownReason.CRASH | ShutdownReason.WATCHDOG:
            return Finish(Outcome.FAILED, f"it ended with a {reason.name.lower()}", good=False)
        case ShutdownReason.SUSPEND:
            return Finish(Outcome.FAILED, "another tool suspended it instead", good=False)
        case None if ladder.seen_dying:
            return Finish(Outcome.FORCED, "another tool destroyed it", good=False)
    said = "acknowledged the request and is gone" if ladder.acknowledged else "is gone"
    return Finish(Outcome.UNKNOWN, f"it {said}, but nobody saw how it ended", good=False)


def _times(requests: int) -> str:
    return "the request" if requests == 1 else f"any of {requests} requests"
