"""Agent reports during a domain's stop, and the guest's requests for more time.

The newest report of an incarnation is kept in every phase, because the verdict uses it. The last
reported progress, and a report that the guest forces its own end, are kept when the nodes are gone,
because the nodes go with the domain.

A request is granted in full if it fits into what is left of ``extend_max`` and of the host's
``stop_budget``, and refused otherwise, with a reason that says how much is left. So the sum of all
grants never exceeds ``extend_max``, and no deadline is later than ``latest``. Each request is
answered once, whichever run does it, and no two answers come within ``timing.ANSWER_PAUSE``; an
answer that could not be written is repeated, with the time that is left then, as long as the guest
asks. A request made when no answer can be given (before the guest is asked to power off, or while
that request is withdrawn) is answered as soon as one can; a request of a guest that forces its own
end is never answered.

A run that continues the stop of an earlier one has its own time, counted from its begin. Earlier
grants count for it as well, because the guest relies on them. A guest that had been asked to
power off before its agent's first report gets a deadline note of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine import events, timing
from lamplighter.engine.stop.state import ALIVE, EXTENDABLE
from lamplighter.formats.agent_protocol import Answer, quoted
from lamplighter.formats.durations import format_duration
from lamplighter.model.lifecycle import Phase

if TYPE_CHECKING:
    from lamplighter.engine.stop.state import StopState
    from lamplighter.formats.agent_protocol import AgentStatus, Forced, Grants

    Stepped = tuple[StopState, tuple[events.Action, ...]]

#: How the note on a guest that forced its own end begins.
BY_THE_GUEST = "forced by the guest"

#: How many answers of one stop are recorded; later ones are given without a record.
ANSWERS_ON_RECORD = 20


def by_the_guest(forced: Forced) -> str:
    """Return the note that a guest forces, or forced, its own end."""
    return f"{BY_THE_GUEST}: {quoted(forced.why)}" if forced.why else BY_THE_GUEST


def agent_reported(state: StopState, report: AgentStatus, now: float, given: Grants) -> Stepped:
    """Process an agent report; ``given``: what earlier runs have answered and granted."""
    before, actions = state.report, tuple[events.Action, ...]()
    if before is None:
        # The first report: what earlier runs have given this incarnation is taken over.
        state = state._replace(report=report, answered=given.answered)
        granted = min(given.granted, state.extend_max)
        if state.phase in ALIVE and granted > state.granted:
            state = state._replace(granted=granted)
            left = format_duration(_left(state, now))
            detail = f"{format_duration(granted)} that a run before granted, {left} are left"
            actions = (events.EnterPhase(state.phase, detail),)
        if state.phase in EXTENDABLE and state.retry_at is None:
            deadline = events.TellDeadline(state.info.domid, state.deadline, int(state.granted))
            actions += (deadline,)
    else:
        progress, forced = report.progress or before.progress, report.forced or before.forced
        report = report._replace(progress=progress, forced=forced)
        state = state._replace(report=report)
    state, answer = answer_pending(state, now)
    known = before is not None and before.forced is not None
    # Our own force is the last thing to be recorded.
    if report.forced is not None and not known and state.phase is not Phase.FORCING:
        actions += (events.EnterPhase(state.phase, by_the_guest(report.forced)),)
    return state, (*actions, *answer)


def answer_pending(state: StopState, now: float) -> Stepped:
    """Answer a pending request for more time, if it is time to."""
    more = state.pending
    if more is None or state.phase not in EXTENDABLE:
        return state, ()
    if now < state.answer_at or now >= state.deadline:
        return state, ()
    domid, unwritten = state.info.domid, state.unwritten_answer
    state = state._replace(answered=more.id, answer_at=now + timing.ANSWER_PAUSE)
    state = state._replace(unwritten_answer=None)
    if unwritten is not None and unwritten.id == more.id:
        if unwritten.left is not None:
            unwritten = unwritten._replace(left=_left(state, now))
        return state, (events.AnswerAgent(domid, unwritten, int(state.granted)),)
    # A grant that the guest most likely never read does not count against the new request. But the
    # guest may have read it, so it is not revoked either.
    heard_of = state.granted - (state.last_grant if unwritten is not None else 0.0)
    state = state._replace(answers=state.answers + 1, last_grant=0.0)
    left, refusal = state.extend_max - heard_of, ""
    if not state.extend_max:
        refusal = "this host grants no more time: extend_max is not set for it"
    elif more.seconds > left and left < 1:
        refusal = f"extend_max is {state.extend_max:g} s and all of it has been granted"
    elif more.seconds > left:
        rest = f"{left:g} s of it are left: ask for no more than that"
        refusal = f"extend_max is {state.extend_max:g} s and {rest}"
    elif state.begun + state.stop_timeout + heard_of + more.seconds > state.latest:
        refusal = f"the host's stop_budget ends in {state.latest - now:.0f} s"
    if refusal:
        answer = Answer(more.id, None, refusal)
        detail = f"{format_duration(more.seconds)} more refused, {refusal}"
    else:
        granted = max(state.granted, heard_of + more.seconds)
        state = state._replace(last_grant=granted - state.granted, granted=granted)
        answer = Answer(more.id, _left(state, now))
        rest = format_duration(_left(state, now))
        detail = f"{format_duration(more.seconds)} more granted, {rest} are left"
    if more.why:
        detail += f"; it says {quoted(more.why)}"
    actions: tuple[events.Action, ...] = (events.AnswerAgent(domid, answer, int(state.granted)),)
    if state.answers <= ANSWERS_ON_RECORD:
        actions = (events.EnterPhase(state.phase, detail), *actions)
    return state, actions


def _left(state: StopState, now: float) -> int:
    return max(0, int(state.deadline - now))
