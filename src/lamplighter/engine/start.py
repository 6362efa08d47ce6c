"""The state machine that starts one domain: create it, then wait until its kernel is up.

A domain is up when its kernel has advertised itself in XenStore, or when it has run for
``start_timeout`` without that (an HVM guest without drivers never advertises itself). A call to
create that did not return in time may still have worked: only a listing shows that.

A domain that something else is already creating is waited for, and created only if that comes to
nothing: an ``xl create`` of a run that died may still be at work, or the process that waits for a
domain's end creates it again after a reboot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import timing
from lamplighter.engine.events import (
    Action,
    CheckCreator,
    Create,
    Created,
    CreatorChecked,
    EnterPhase,
    Event,
    Finish,
    HeldMeanwhile,
    Interrupted,
    Listed,
    ListingFailed,
    NotListed,
    PoweroffFeature,
    Relist,
    Tick,
    WatchNodes,
)
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from lamplighter.model.policy import Policy

#: An incarnation that ended like this while booting may be followed by another one.
COMES_BACK = frozenset({ShutdownReason.REBOOT, ShutdownReason.SOFT_RESET})


class StartState(NamedTuple):
    """The state of one domain's start. Times are host seconds on the events' clock.

    ``called``: the call to create has returned, and ``error`` is why it failed; ``blind`` is why
    the last listing failed. ``foreign_creator``: something else is creating the domain, and
    ``ask_at`` is when that is checked again. ``creator_gone``: nothing creates it any more, and one
    more listing shows whether it came before that check.
    """

    start_timeout: float
    begun: float
    phase: Phase = Phase.ABSENT
    domid: int | None = None
    gone_at: float | None = None
    paused: bool = False
    called: bool = False
    error: str = ""
    blind: str = ""
    foreign_creator: bool = False
    creator_gone: bool = False
    ask_at: float | None = None

    @property
    def deadline(self) -> float:
        """When the whole start's time is up."""
        return self.begun + self.start_timeout

    @property
    def wake(self) -> float:
        """The latest time at which a ``Tick`` is wanted."""
        if self.gone_at is not None:
            return self.gone_at + timing.REBOOT_GAP
        if self.ask_at is not None:
            return self.ask_at
        return self.deadline


Stepped = tuple[StartState, tuple[Action, ...]]


def begin(
    policy: Policy, now: float, *, resume: Phase | None = None, domid: int | None = None
) -> Stepped:
    """Begin a domain's start.

    ``resume``: CREATING when something else is creating it; BOOTING when it is listed as ``domid``
    and a run that died did not see it come up.
    """
    state = StartState(start_timeout=policy.start_timeout.value, begun=now)
    if resume is Phase.BOOTING and domid is not None:
        detail = f"domid {domid}, where a run that died had left it"
        moved, move = _move(state._replace(phase=resume, domid=domid), resume, detail)
        return moved, (*move, WatchNodes(domid))
    if resume is Phase.CREATING:
        detail = "something is creating it already"
        moved, move = _move(state._replace(foreign_creator=True), Phase.CREATING, detail)
        return moved, (*move, Relist())
    moved, move = _move(state, Phase.CREATING, "")
    return moved, (*move, Create())


def step(state: StartState, event: Event) -> Stepped:
    """Process one event."""
    match event:
        case Created(now, domid, error):
            return _created(state, domid, error, now)
        case PoweroffFeature(_, domid, supported) if domid == state.domid and supported is not None:
            moved, move = _move(state, Phase.UP, "its kernel is up")
            return moved, (*move, Finish(Outcome.STARTED))
        case Listed(now, info):
            return _seen(state._replace(blind="", paused=info.paused), info, now)
        case NotListed(now):
            return _not_listed(state._replace(blind=""), now)
        case ListingFailed(now, error):
            return _tick(state._replace(blind=error), now)
        case Interrupted(_, why):
            return state, (_interrupted(state, why),)
        case Tick(now):
            return _tick(state, now)
    return _not_begun(state, event)


def _not_begun(state: StartState, event: Event) -> Stepped:
    match event:
        case CreatorChecked(now, creating):
            return _underway(state, creating=creating, now=now)
        case HeldMeanwhile(_, why):
            moved, move = _move(state, Phase.ABSENT, why)
            return moved, (*move, Finish(Outcome.HELD, why))
    return state, ()


def _underway(state: StartState, *, creating: bool, now: float) -> Stepped:
    """It was not listed: its creator is still at work, has just finished, or has given up.

    A listing that begins now distinguishes the last two.
    """
    if state.domid is not None or not state.foreign_creator:
        return state, ()
    if not creating:
        return state._replace(creator_gone=True, ask_at=None), (Relist(),)
    if now >= state.deadline:
        note = f"something has been creating it for {state.start_timeout:g} s, and it is not there"
        return state, (Finish(Outcome.UNKNOWN, note, good=False),)
    return state._replace(ask_at=now + timing.RETRY_PAUSE), ()


def _created(state: StartState, domid: int | None, error: str, now: float) -> Stepped:
    """``begun`` is set again: waiting for a place in the queue is not the guest's time."""
    state = state._replace(begun=now, called=True, error=error)
    if domid is None:
        return state, (Relist(),)
    moved, move = _move(state._replace(domid=domid), Phase.BOOTING, f"domid {domid}")
    return moved, (*move, WatchNodes(domid))


def _seen(state: StartState, info: DomainInfo, now: float) -> Stepped:
    if not info.running:
        return _ended(state, info, now)
    if info.domid == state.domid:
        return _tick(state._replace(gone_at=None), now)
    if state.foreign_creator:
        detail = f"domid {info.domid}, which was being created already"
    elif state.phase is Phase.CREATING and state.error:
        detail = f"domid {info.domid}, although the call failed: {state.error}"
    elif state.phase is Phase.CREATING:
        detail = f"domid {info.domid}"
    else:
        detail = f"it came back as domid {info.domid}"
    came = state._replace(domid=info.domid, gone_at=None, ask_at=None)
    came = came._replace(foreign_creator=False, creator_gone=False)
    moved, move = _move(came, Phase.BOOTING, detail)
    return moved, (*move, WatchNodes(info.domid))


def _ended(state: StartState, info: DomainInfo, now: float) -> Stepped:
    if info.domid != state.domid:
        if state.foreign_creator:
            told = f"domid {info.domid} of it has ended and is still listed"
            state = state._replace(error=told)
        return _tick(state, now)
    if info.shutdown in COMES_BACK:
        return _tick(state._replace(gone_at=state.gone_at or now), now)
    told = info.shutdown.name.lower() if info.shutdown else "it was destroyed"
    moved, move = _move(state, Phase.ENDED, told)
    note = f"it ended while it was starting: {told}"
    return moved, (*move, Finish(Outcome.FAILED, note, good=False))


def _not_listed(state: StartState, now: float) -> Stepped:
    if state.creator_gone:
        return state._replace(foreign_creator=False, creator_gone=False), (Create(),)
    if state.foreign_creator:
        return state, (CheckCreator(),)
    if state.domid is None:
        error = state.error or "it was created and is gone already"
        moved, move = _move(state, Phase.ABSENT, error)
        return moved, (*move, Finish(Outcome.FAILED, error, good=False))
    return _tick(state._replace(gone_at=state.gone_at or now), now)


def _tick(state: StartState, now: float) -> Stepped:
    if now < state.wake:
        return state, ()
    if state.ask_at is not None:
        return state._replace(ask_at=None), (Relist(),)
    if state.gone_at is not None:
        moved, move = _move(state, Phase.ABSENT, "it vanished while it was starting")
        note = "it vanished while it was starting and did not come back"
        return moved, (*move, Finish(Outcome.FAILED, note, good=False))
    if state.domid is None:
        why = state.blind or state.error or "no listing was made"
        note = f"whether it was created could not be seen: {why}"
        return state, (Finish(Outcome.UNKNOWN, note, good=False),)
    if state.blind:
        note = f"whether it runs could not be seen: {state.blind}"
        return state, (Finish(Outcome.UNKNOWN, note, good=False),)
    if state.paused:
        why = f": {state.error}" if state.error else ""
        note = f"it is paused and has not begun within {state.start_timeout:g} s{why}"
        return state, (Finish(Outcome.FAILED, note, good=False),)
    note = f"its kernel said nothing in XenStore within {state.start_timeout:g} s"
    moved, move = _move(state, Phase.UP, note)
    return moved, (*move, Finish(Outcome.STARTED, note))


def _interrupted(state: StartState, why: str) -> Finish:
    if state.domid is None and state.called:
        failed = f" ({state.error})" if state.error else ""
        note = f"whether it was created{failed} was not waited for: {why}"
        return Finish(Outcome.UNKNOWN, note, good=False)
    if state.domid is None:
        return Finish(Outcome.SKIPPED, f"not started: {why}", good=False)
    return Finish(Outcome.STARTED, f"its boot was not waited for: {why}")


def _move(state: StartState, phase: Phase, detail: str) -> Stepped:
    check_transition(state.phase, phase)
    return state._replace(phase=phase), (EnterPhase(phase, detail),)
