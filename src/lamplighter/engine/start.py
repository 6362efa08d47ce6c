"""The state machine that starts one domain: create it, then wait until its kernel is up.

A domain is up when its kernel has advertised itself in XenStore, or when it has run for
``start_timeout`` without that (an HVM guest without drivers never advertises itself). A call to
create that did not return in time may still have worked: only a listing shows that.

A domain that something else is already creating is waited for, and created only if that comes to
nothing: an ``xl create`` of a run that died may still be at work, or the process that waits for a
domain's end creates it again after a reboot.

A domain that is listed and has never run may be half built: its creator was killed. Nothing will
ever let it run, so it is destroyed, and created if that was not tried yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import events, timing
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from lamplighter.model.policy import Policy

#: An incarnation that ended like this while booting may be followed by another one.
COMES_BACK = frozenset({ShutdownReason.REBOOT, ShutdownReason.SOFT_RESET})


class StartState(NamedTuple):
    """The state of one domain's start. Times are host seconds on the events' clock.

    ``calling``: the call to create is under way; ``called``: it has returned. ``error`` is why it
    failed, ``listing_error`` why the last listing did; None where they did not.
    ``foreign_creator``: something else is creating the domain, and ``ask_at`` is when that is
    checked again. ``creator_gone``: nothing creates it any more, and one more listing shows whether
    it came before that check. ``never_ran``: what is listed as ``domid`` has not run yet, and at
    ``check_at`` it is checked again whether it is half built; ``removing`` is the domid of one that
    is.
    """

    start_timeout: float
    begun: float
    phase: Phase = Phase.ABSENT
    domid: int | None = None
    gone_at: float | None = None
    paused: bool = False
    calling: bool = False
    called: bool = False
    error: str | None = None
    listing_error: str | None = None
    foreign_creator: bool = False
    creator_gone: bool = False
    ask_at: float | None = None
    never_ran: bool = False
    check_at: float = 0.0
    removing: int | None = None

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
        return min(self.deadline, self.check_at) if self.may_be_half_built else self.deadline

    @property
    def may_be_half_built(self) -> bool:
        """Whether it is listed and has never run, without a call of ours that creates it."""
        return self.never_ran and self.domid is not None and not self.calling


Stepped = tuple[StartState, tuple[events.Action, ...]]


def begin(
    policy: Policy, now: float, *, resume: Phase | None = None, domid: int | None = None
) -> Stepped:
    """Begin a domain's start.

    ``resume``: CREATING when something else is creating it; BOOTING when it is listed as ``domid``
    and a run that died did not see it come up.
    """
    state = StartState(start_timeout=policy.start_timeout.value, begun=now)
    if resume is Phase.BOOTING and domid is not None:
        detail = f"domid {domid}, which has not been seen up"
        state, move = _move(state._replace(phase=resume, domid=domid), resume, detail)
        return state, (*move, events.WatchNodes(domid))
    if resume is Phase.CREATING:
        detail = "something is creating it already"
        state, move = _move(state._replace(foreign_creator=True), Phase.CREATING, detail)
        return state, (*move, events.Relist())
    state, move = _move(state._replace(calling=True), Phase.CREATING, "")
    return state, (*move, events.Create())


def step(state: StartState, event: events.Event) -> Stepped:  # noqa: C901 (a table)
    """Process one event."""
    match event:
        case events.Created(now, domid, error):
            # Begun again: waiting for a place in the queue is not the guest's time.
            state = state._replace(begun=now, calling=False, called=True, error=error)
            if domid is None:
                return state, (events.Relist(),)
            state, move = _move(state._replace(domid=domid), Phase.BOOTING, f"domid {domid}")
            return state, (*move, events.WatchNodes(domid))
        case events.PoweroffFeature(_, domid, supported) if (
            domid == state.domid and supported is not None
        ):
            state, move = _move(state, Phase.UP, "its kernel is up")
            return state, (*move, events.Finish(Outcome.STARTED))

        # --- listings and time ---
        case events.Listed(now, info):
            state = state._replace(paused=info.paused, never_ran=info.never_ran)
            if info.domid == state.removing:
                return _tick(state, now)
            return _listed(state._replace(listing_error=None), info, now)
        case events.NotListed(now):
            state = state._replace(listing_error=None)
            if state.removing is not None:
                return _removed(state)
            if state.creator_gone:
                state = state._replace(foreign_creator=False, creator_gone=False)
                return state._replace(calling=True), (events.Create(),)
            if state.foreign_creator:
                return state, (events.CheckCreator(),)
            if state.domid is None:
                error = state.error or "it was created and is gone already"
                state, move = _move(state, Phase.ABSENT, error)
                return state, (*move, events.Finish(Outcome.FAILED, error, good=False))
            return _tick(state._replace(gone_at=state.gone_at or now), now)
        case events.ListingFailed(now, error):
            return _tick(state._replace(listing_error=error), now)
        case events.Tick(now):
            return _tick(state, now)

        # --- half built ---
        case events.HalfBuiltChecked(_, domid, half_built=True) if domid == state.domid:
            detail = "half built and never run: destroyed"
            state, move = _move(state, Phase.FORCING, detail)
            return state._replace(removing=domid, domid=None), (*move, events.Destroy(domid))
        case events.Destroyed(_, error) if error is not None and state.removing is not None:
            return state._replace(listing_error=error), ()

        # --- not begun: another creator, a hold ---
        case events.CreatorChecked(now, creating) if state.domid is None and state.foreign_creator:
            # It was not listed: its creator is still at work, has just finished, or has given up.
            # A listing that begins now distinguishes the last two.
            if not creating:
                return state._replace(creator_gone=True, ask_at=None), (events.Relist(),)
            if now < state.deadline:
                return state._replace(ask_at=now + timing.RETRY_PAUSE), ()
            waited = f"{state.start_timeout:g} s"
            note = f"something has been creating it for {waited}, and it is not there"
            return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)
        case events.HeldMeanwhile(_, reason):
            state, move = _move(state, Phase.ABSENT, reason)
            return state, (*move, events.Finish(Outcome.HELD, reason))

        # --- the run is to end ---
        case events.Interrupted(_, reason) if state.domid is not None and state.never_ran:
            note = f"it is there as domid {state.domid} and has not run yet: {reason}"
            return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)
        case events.Interrupted(_, reason) if state.domid is not None:
            note = f"its boot was not waited for: {reason}"
            return state, (events.Finish(Outcome.STARTED, note),)
        case events.Interrupted(_, reason) if state.called or state.foreign_creator:
            failed = f" ({state.error})" if state.error is not None else ""
            note = f"whether it was created{failed} was not waited for: {reason}"
            return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)
        case events.Interrupted(_, reason):
            return state, (events.Finish(Outcome.SKIPPED, f"not started: {reason}", good=False),)
    return state, ()


def _listed(state: StartState, info: DomainInfo, now: float) -> Stepped:
    if info.running and info.domid == state.domid:
        state = state._replace(gone_at=None)
        if state.may_be_half_built and now < state.deadline:
            state = state._replace(check_at=now + timing.RETRY_PAUSE)
            return state, (events.CheckHalfBuilt(info),)
        return _tick(state, now)
    if info.running:
        begun: tuple[events.Action, ...] = ()
        if state.removing is not None:
            state, gone = _move(state._replace(removing=None), Phase.ABSENT, "")
            state, made = _move(state, Phase.CREATING, "something else creates it")
            begun = (*gone, *made)
        if state.foreign_creator:
            detail = f"domid {info.domid}, which was being created already"
        elif state.phase is Phase.CREATING and state.error is not None:
            detail = f"domid {info.domid}, although the call failed: {state.error}"
        elif state.phase is Phase.CREATING:
            detail = f"domid {info.domid}"
        else:
            detail = f"it came back as domid {info.domid}"
        state = state._replace(domid=info.domid, gone_at=None, ask_at=None)
        state = state._replace(foreign_creator=False, creator_gone=False)
        state, move = _move(state, Phase.BOOTING, detail)
        state = state._replace(check_at=now)
        return state, (*begun, *move, events.WatchNodes(info.domid))
    if info.domid != state.domid:
        if state.foreign_creator:
            error = f"domid {info.domid} of it has ended and is still listed"
            state = state._replace(error=error)
        return _tick(state, now)
    if info.shutdown in COMES_BACK:
        return _tick(state._replace(gone_at=state.gone_at or now), now)
    end = info.shutdown.name.lower() if info.shutdown else "it was destroyed"
    state, move = _move(state, Phase.ENDED, end)
    note = f"it ended while it was starting: {end}"
    return state, (*move, events.Finish(Outcome.FAILED, note, good=False))


def _removed(state: StartState) -> Stepped:
    """Create a domain whose half built incarnation is gone, unless that was tried."""
    state, gone = _move(state._replace(removing=None), Phase.ABSENT, "")
    if state.called:
        error = f"{state.error or 'it was half built'}; what it left half built was destroyed"
        return state, (*gone, events.Finish(Outcome.FAILED, error, good=False))
    state = state._replace(foreign_creator=False, calling=True)
    state, made = _move(state, Phase.CREATING, "")
    return state, (*gone, *made, events.Create())


def _tick(state: StartState, now: float) -> Stepped:
    if now < state.wake:
        return state, ()
    if state.removing is not None:
        why = f": {state.listing_error}" if state.listing_error is not None else ""
        note = f"it is half built as domid {state.removing} and could not be destroyed{why}"
        return state, (events.Finish(Outcome.FAILED, note, good=False),)
    if state.ask_at is not None:
        return state._replace(ask_at=None), (events.Relist(),)
    if state.may_be_half_built and now < state.deadline:
        return state._replace(check_at=now + timing.RETRY_PAUSE), (events.Relist(),)
    if state.gone_at is not None:
        state, move = _move(state, Phase.ABSENT, "it vanished while it was starting")
        note = "it vanished while it was starting and did not come back"
        return state, (*move, events.Finish(Outcome.FAILED, note, good=False))
    if state.domid is None:
        why = state.listing_error or state.error or "no listing was made"
        note = f"whether it was created could not be seen: {why}"
        return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)
    if state.listing_error is not None:
        note = f"whether it runs could not be seen: {state.listing_error}"
        return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)
    if state.paused:
        why = f": {state.error}" if state.error is not None else ""
        note = f"it is paused and has not begun within {state.start_timeout:g} s{why}"
        return state, (events.Finish(Outcome.FAILED, note, good=False),)
    note = f"its kernel did not advertise itself within {state.start_timeout:g} s"
    state, move = _move(state, Phase.UP, note)
    return state, (*move, events.Finish(Outcome.STARTED, note))


def _move(state: StartState, phase: Phase, detail: str) -> Stepped:
    check_transition(state.phase, phase)
    return state._replace(phase=phase), (events.EnterPhase(phase, detail),)
