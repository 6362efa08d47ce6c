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
grants count for it as well, because the guest relies on them. A guest that has already been asked
to power off when its agent reports first is told its deadline separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine import timing
from lamplighter.engine.events import Action, EnterPhase, TellDeadline
from lamplighter.engine.events import AnswerAgent as Say
from lamplighter.engine.guest_force import by_the_guest
from lamplighter.engine.stop.state import ALIVE, EXTENDABLE
from lamplighter.formats.agent_protocol import Answer, quoted
from lamplighter.formats.durations import format_duration
from lamplighter.model.lifecycle import Phase

if TYPE_CHECKING:
    from lamplighter.engine.stop.state import StopState
    from lamplighter.formats.agent_protocol import AgentWords, Grants, TimeRequest

    Stepped = tuple[StopState, tuple[Action, ...]]

#: How many answers of one stop are recorded; later ones are given without a record.
ANSWERS_ON_RECORD = 20


def agent_reported(state: StopState, words: AgentWords, now: float, given: Grants) -> Stepped:
    """Process an agent report; ``given``: what earlier runs have answered and granted."""
    before, actions = state.words, tuple[Action, ...]()
    if before is None:
        state, actions = _go_on(state._replace(words=words), given, now)
    else:
        progress, forced = words.progress or before.progress, words.forced or before.forced
        words = words._replace(progress=progress, forced=forced)
        state = state._replace(words=words)
    state, answer = answer_pending(state, now)
    if words.forced is None or (before is not None and before.forced is not None):
        return state, (*actions, *answer)
    if state.phase is Phase.FORCING:  # our own force is the last thing to be recorded
        return state, (*actions, *answer)
    return state, (*actions, EnterPhase(state.phase, by_the_guest(words.forced)), *answer)


def _go_on(state: StopState, given: Grants, now: float) -> Stepped:
    """Take over, at the first report, what earlier runs have given this incarnation."""
    state, actions = state._replace(answered=given.answered), tuple[Action, ...]()
    granted = min(given.granted, state.extend_max)
    if state.phase in ALIVE and granted > state.granted:
        state = state._replace(granted=granted)
        told = f"{format_duration(granted)} that a run before granted"
        actions = (EnterPhase(state.phase, f"{told}, {_left_in_words(state, now)}"),)
    if state.phase in EXTENDABLE and state.retry_at is None:
        actions += (TellDeadline(state.info.domid, state.deadline, int(state.granted)),)
    return state, actions


def answer_pending(state: StopState, now: float) -> Stepped:
    """Answer a pending request for more time, if it is time to."""
    more = state.pending
    if more is None or state.phase not in EXTENDABLE:
        return state, ()
    if now < state.answer_at or now >= state.deadline:
        return state, ()
    unwritten_answer, answer_at = state.unwritten_answer, now + timing.ANSWER_PAUSE
    state = state._replace(answered=more.id, answer_at=answer_at, unwritten_answer=None)
    if unwritten_answer is not None and unwritten_answer.id == more.id:
        if unwritten_answer.left is not None:
            unwritten_answer = unwritten_answer._replace(left=_left(state, now))
        return state, (_say(state, unwritten_answer),)
    # A grant that the guest most likely never read does not count against the new request. But the
    # guest may have read it, so it is not revoked either.
    heard_of = state.granted - (state.newest if unwritten_answer is not None else 0.0)
    state = state._replace(answers=state.answers + 1, newest=0.0)
    why_not = _why_not(state._replace(granted=heard_of), more, now)
    if why_not:
        return _refuse(state, more, why_not)
    return _grant(state, more, max(state.granted, heard_of + more.seconds), now)


def _say(state: StopState, answer: Answer) -> Action:
    return Say(state.info.domid, answer, int(state.granted))


def _left(state: StopState, now: float) -> int:
    return max(0, int(state.deadline - now))


def _left_in_words(state: StopState, now: float) -> str:
    return f"{format_duration(_left(state, now))} are left"


def _grant(state: StopState, more: TimeRequest, granted: float, now: float) -> Stepped:
    """Grant the request; ``granted`` is the total of seconds with it."""
    state = state._replace(newest=granted - state.granted, granted=granted)
    detail = f"{format_duration(more.seconds)} more granted, {_left_in_words(state, now)}"
    say = _say(state, Answer(more.id, _left(state, now)))
    return state, (*_on_record(state, f"{detail}{_said(more)}"), say)


def _refuse(state: StopState, more: TimeRequest, why: str) -> Stepped:
    say = _say(state, Answer(more.id, None, why))
    detail = f"{format_duration(more.seconds)} more refused, {why}{_said(more)}"
    return state, (*_on_record(state, detail), say)


def _on_record(state: StopState, detail: str) -> tuple[Action, ...]:
    return (EnterPhase(state.phase, detail),) if state.answers <= ANSWERS_ON_RECORD else ()


def _why_not(state: StopState, more: TimeRequest, now: float) -> str:
    """Return why a request does not fit; empty when it does."""
    if not state.extend_max:
        return "this host grants no more time: extend_max is not set for it"
    left = state.extend_max - state.granted
    if more.seconds > left:
        limit = f"extend_max is {state.extend_max:g} s and"
        if left < 1:
            return f"{limit} all of it has been granted"
        return f"{limit} {left:g} s of it are left: ask for no more than that"
    if state.own_deadline + more.seconds > state.latest:
        return f"the host's stop_budget ends in {state.latest - now:.0f} s"
    return ""


def _said(more: TimeRequest) -> str:
    return f"; it says {quoted(more.why)}" if more.why else ""
