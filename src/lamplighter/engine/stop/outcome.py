"""The outcome of a domain's stop, derived from what was seen.

``clean`` requires that the domain's own power-off (or reboot) was seen or is on record. A domain
that is gone and whose end nobody saw is ``unknown``, however likely a good end is. Only this module
and ``engine/recovery`` report ``clean``.

If the agent reported that the guest forces its own end, and the guest then powered off or rebooted,
the outcome is ``forced``, by the guest. Otherwise that report changes no outcome: the domain was
destroyed, crashed or is gone, and the note mentions the report. By lying, a guest can make its own
end look worse, never better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine.events import Finish
from lamplighter.engine.stop.extension import BY_THE_GUEST, by_the_guest
from lamplighter.formats.agent_protocol import quoted
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from lamplighter.engine.stop.state import StopState

#: How the record of an incarnation that has shut down begins.
SHUT_DOWN = "shut down: "


def verdict(state: StopState) -> Finish:
    """Return how the domain's stop ended, once it is over."""
    finish, report = _ending(state), state.report
    notes = [finish.note, *state.remarks]
    if report is not None and not finish.good:  # what the agent reported last
        if report.forced is not None and not finish.note.startswith(BY_THE_GUEST):
            why = f": {quoted(report.forced.why)}" if report.forced.why else ""
            notes.append(f"it had reported that it forces its own {report.forced.request}{why}")
        if report.progress is not None:
            notes.append(f"its last report: {quoted(str(report.progress))}")
    note = "; ".join(note for note in notes if note)
    suspended = state.reason is ShutdownReason.SUSPEND
    return Finish(finish.outcome, note, finish.good, suspended)


def shut_down_detail(state: StopState, reason: ShutdownReason) -> str:
    """Return the record's text for an incarnation that has shut down."""
    detail = f"{SHUT_DOWN}{reason.name.lower()}"
    if state.report is None or state.report.forced is None:
        return detail
    return f"{detail}, {by_the_guest(state.report.forced)}"


def is_guest_force(detail: str) -> bool:
    """Return whether a transition's detail says that the guest forced its own end.

    A mere quotation of the guest does not.
    """
    shut_down, _, more = detail.partition(", ")
    return detail.startswith(BY_THE_GUEST) or (
        shut_down.startswith(SHUT_DOWN) and more.startswith(BY_THE_GUEST)
    )


def _ending(state: StopState) -> Finish:
    """Return the outcome by the first rule that fits, our own force before everything else."""
    reason = state.reason
    if state.forced and state.half_built:
        return Finish(Outcome.ALREADY, "half built and never run: destroyed")
    if state.forced and state.destroy_wanted:
        return Finish(Outcome.FORCED, "destroyed, as its policy says")
    if state.forced:
        if state.acknowledged:
            failed = "it acknowledged the request but did not end"
        elif not state.requests:
            return Finish(Outcome.FORCED, "destroyed without a request by this run", good=False)
        elif state.requests == 1:
            failed = "it did not acknowledge the request"
        else:
            failed = f"it did not acknowledge any of {state.requests} requests"
        note = f"{failed} within {state.allowed}: destroyed"
        return Finish(Outcome.FORCED, note, good=False)
    if reason is ShutdownReason.SUSPEND and state.destroys:
        note = f"another tool had suspended it and did not end it within {state.allowed}"
        return Finish(Outcome.FAILED, f"{note}: destroyed", good=False)
    if state.begun_ended:
        end = reason.name.lower() if reason else "being destroyed"
        return Finish(Outcome.ALREADY, f"it had already ended before it was asked ({end})")
    by_itself = reason in (ShutdownReason.POWEROFF, ShutdownReason.REBOOT)
    if by_itself and state.report is not None and state.report.forced is not None:
        return Finish(Outcome.FORCED, by_the_guest(state.report.forced), good=False)
    match reason:
        case ShutdownReason.POWEROFF:
            quietly = "" if state.acknowledged else "it powered off without acknowledging"
            return Finish(Outcome.CLEAN, quietly)
        case ShutdownReason.REBOOT:
            return Finish(Outcome.CLEAN, "it ended with a reboot and nobody started it again")
        case ShutdownReason.CRASH | ShutdownReason.WATCHDOG:
            return Finish(Outcome.FAILED, f"it ended with a {reason.name.lower()}", good=False)
        case ShutdownReason.SUSPEND:
            return Finish(Outcome.FAILED, "another tool suspended it instead", good=False)
        case None if state.seen_dying:
            return Finish(Outcome.FORCED, "another tool destroyed it", good=False)
    acknowledged = "acknowledged the request and " if state.acknowledged else ""
    note = f"it {acknowledged}is gone, but nobody saw how it ended"
    return Finish(Outcome.UNKNOWN, note, good=False)
