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
    from lamplighter.formats.agent_protocol import Given, GuestWords, More

    Stepped = tuple[StopState, tuple[Action, ...]]

#: How many answers of one stop are recorded; later ones are given without a record.
ANSWERS_ON_RECORD = 20


def heard(ladder: StopState, words: GuestWords, now: float, given: Given) -> Stepped:
    """Process an agent report; ``given``: what earlier runs have answered and granted."""
    before, actions = ladder.words, tuple[Action, ...]()
    if before is None:
        ladder, actions = _go_on(ladder._replace(words=words), given, now)
    else:
        progress, forced = words.progress or before.progress, words.forced or before.forced
        words = words._replace(progress=progress, forced=forced)
        ladder = ladder._replace(words=words)
    ladder, answer = consider(ladder, now)
    if words.forced is None or (before is not None and before.forced is not None):
        return ladder, (*actions, *answer)
    if ladder.phase is Phase.FORCING:  # our own force is the last thing to be recorded
        return ladder, (*actions, *answer)
    return ladder, (*actions, EnterPhase(ladder.phase, by_the_guest(words.forced)), *answer)


def _go_on(ladder: StopState, given: Given, now: float) -> Stepped:
    """Take over, at the first report, what earlier runs have given this incarnation."""
    ladder, actions = ladder._replace(answered=given.answered), tuple[Action, ...]()
    granted = min(given.granted, ladder.extend_max)
    if ladder.phase in ALIVE and granted > ladder.granted:
        ladder = ladder._replace(granted=granted)
        told = f"{format_duration(granted)} that a run before granted"
        actions = (EnterPhase(ladder.phase, f"{told}, {_left_in_words(ladder, now)}"),)
    if ladder.phase in EXTENDABLE and ladder.retry_at is None:
        actions += (TellDeadline(ladder.sighting.domid, ladder.deadline, int(ladder.granted)),)
    return ladder, actions


def consider(ladder: StopState, now: float) -> Stepped:
    """Answer a pending request for more time, if it is time to."""
    more = ladder.pending
    if more is None or ladder.phase not in EXTENDABLE:
        return ladder, ()
    if now < ladder.answer_at or now >= ladder.deadline:
        return ladder, ()
    unsaid, answer_at = ladder.unsaid, now + timing.ANSWER_PAUSE
    ladder = ladder._replace(answered=more.id, answer_at=answer_at, unsaid=None)
    if unsaid is not None and unsaid.id == more.id:
        if unsaid.left is not None:
            unsaid = unsaid._replace(left=_left(ladder, now))
        return ladder, (_say(ladder, unsaid),)
    # A grant that the guest most likely never read does not count against the new request. But the
    # guest may have read it, so it is not revoked either.
    heard_of = ladder.granted - (ladder.newest if unsaid is not None else 0.0)
    ladder = ladder._replace(answers=ladder.answers + 1, newest=0.0)
    why_not = _why_not(ladder._replace(granted=heard_of), more, now)
    if why_not:
        return _refuse(ladder, more, why_not)
    return _grant(ladder, more, max(ladder.granted, heard_of + more.seconds), now)


def _say(ladder: StopState, answer: Answer) -> Action:
    return Say(ladder.sighting.domid, answer, int(ladder.granted))


def _left(ladder: StopState, now: float) -> int:
    return max(0, int(ladder.deadline - now))


def _left_in_words(ladder: StopState, now: float) -> str:
    return f"{format_duration(_left(ladder, now))} are left"


def _grant(ladder: StopState, more: More, granted: float, now: float) -> Stepped:
    """Grant the request; ``granted`` is the total of seconds with it."""
    ladder = ladder._replace(newest=granted - ladder.granted, granted=granted)
    detail = f"{format_duration(more.seconds)} more granted, {_left_in_words(ladder, now)}"
    say = _say(ladder, Answer(more.id, _left(ladder, now)))
    return ladder, (*_on_record(ladder, f"{detail}{_said(more)}"), say)


def _refuse(ladder: StopState, more: More, why: str) -> Stepped:
    say = _say(ladder, Answer(more.id, None, why))
    detail = f"{format_duration(more.seconds)} more refused, {why}{_said(more)}"
    return ladder, (*_on_record(ladder, detail), say)


def _on_record(ladder: StopState, detail: str) -> tuple[Action, ...]:
    return (EnterPhase(ladder.phase, detail),) if ladder.answers <= ANSWERS_ON_RECORD else ()


def _why_not(ladder: StopState, more: More, now: float) -> str:
    """Return why a request does not fit; empty when it does."""
    if not ladder.extend_max:
        return "this host grants no more time: extend_max is not set for it"
    left = ladder.extend_max - ladder.granted
    if more.seconds > left:
        limit = f"extend_max is {ladder.extend_max:g} s and"
        if left < 1:
            return f"{limit} all of it has been granted"
        return f"{limit} {left:g} s of it are left: ask for no more than that"
    if ladder.own_deadline + more.seconds > ladder.latest:
        return f"the host's stop_budget ends in {ladder.latest - now:.0f} s"
    return ""


def _said(more: More) -> str:
    return f"; it says {quoted(more.why)}" if more.why else ""
