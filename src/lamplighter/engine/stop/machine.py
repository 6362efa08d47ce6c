"""The state machine that stops one domain.

    ask through control/shutdown
      | not acknowledged in time: withdraw the request, press the button (HVM), ask again
      | acknowledged: wait
      | rebooted instead: wait for the next incarnation and ask that one
    stop_timeout with what was granted on top, or the run's own budget, used up: destroy

A domain that has never run is checked each time it is asked: one that its creator left half built,
and that therefore stays paused for ever, is destroyed at once. One that is still being created, or
was created paused, is asked like any other.

Invariants: no domain is destroyed before its deadline unless policy says ``destroy``, an earlier
run was already forcing it, or it has already shut down or can never run; a failed listing never
counts as an end; every stop ends.

Whether a domain ended in time is judged by its own shutdown, not by when that was seen: before it
is forced, a listing that begins after its deadline must show it running, unless none comes within
``timing.FINAL_LISTING``. The time after its shutdown does not count: while the process that reaps
it lives, it is left alone until ``StopState.reaper_until``.

A request is only withdrawn in a transaction that first checks whether the guest acknowledged it,
and no value read between that and the next request is used: so an empty ``control/shutdown`` always
comes from the guest.

``engine/stop/extension`` keeps what an agent in the guest reports and answers its requests for more
time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine import events, timing
from lamplighter.engine.stop import extension
from lamplighter.engine.stop.outcome import shut_down_detail, verdict
from lamplighter.engine.stop.state import ALIVE, StopState
from lamplighter.model.domain import Kind, ShutdownReason
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.policy import Policy

Stepped = tuple[StopState, tuple[events.Action, ...]]


def begin(
    info: DomainInfo,
    policy: Policy,
    now: float,
    *,
    destroy: bool = False,
    restarts: bool = False,
    resume: Phase | None = None,
    latest: float = inf,
) -> Stepped:
    """Begin a domain's stop.

    ``destroy``: without asking, because policy says so. ``restarts``: its definition has it
    created again when it powers off. ``resume``: the phase in which a run that died left this
    incarnation: ACKNOWLEDGED, so it is waited for, or FORCING, because its time was up.
    ``latest``: the time by which the whole run wants it down, infinite when there is none.
    """
    limit = min(policy.stop_timeout.value, max(0.0, latest - now))
    state = StopState(
        info=info,
        stop_timeout=policy.stop_timeout.value,
        request_timeout=min(policy.ack_timeout.value, limit / timing.MIN_REQUESTS),
        begun=now,
        since=now,
        destroy_wanted=destroy,
        restarts=restarts,
        latest=latest,
        extend_max=policy.extend_max.value,
    )
    if not info.running:
        return _shut_down(state._replace(begun_ended=True), info, now)
    if destroy:
        return _force(state, now, "its policy is to destroy it")
    if resume is Phase.FORCING:
        state = _remark(state, "its time was up in a run that died")
        return _force(state, now, "its time was up in the run before, which died")
    if resume is Phase.ACKNOWLEDGED:
        state = state._replace(phase=Phase.ACKNOWLEDGED, acknowledged=True)
        state = _remark(state, "it had acknowledged the request of a run that died")
        # Recorded again under this run, because it may die, too.
        state, move = _move(state, Phase.ACKNOWLEDGED, now, "in a run before, which died")
        return state, (*move, events.WatchNodes(info.domid))
    return state, (events.WatchNodes(info.domid),)


def step(state: StopState, event: events.Event) -> Stepped:  # noqa: C901 (a table)
    """Process one event."""
    match event:
        case (
            events.KindFound(domid=domid)
            | events.PoweroffFeature(domid=domid)
            | events.ShutdownNode(domid=domid)
            | events.AgentReport(domid=domid)
            | events.AnswerFailed(domid=domid)
            | events.HalfBuiltChecked(domid=domid)
            | events.ReaperChecked(domid=domid)
        ) if domid != state.info.domid:
            return state, ()  # It comes from another incarnation.

        # --- listings and time ---
        case events.Listed(now, info):
            return _listed(state._replace(listing_error=None, listed=True), info, now)
        case events.NotListed(now):
            state = state._replace(listing_error=None)
            if state.phase in {Phase.FORCING, Phase.ENDED}:
                return state, (verdict(state),)
            if state.phase is not Phase.REBOOTING:
                return state, (events.FindShutdownReason(state.info),)
            if state.listed:
                return state._replace(listed=False, since=now, retry_at=None), ()
            return _tick(state, now)
        case events.ListingFailed(now, error):
            return _tick(state._replace(listing_error=error), now, relisted=True)
        case events.Tick(now):
            return _tick(state, now)
        case events.Interrupted(_, reason) if state.phase is Phase.ENDED:
            return state, (verdict(_remark(state, f"not waited for: {reason}")),)
        case events.Interrupted(_, reason):
            stands = "; the request to power off stands" if state.phase is Phase.ASKED else ""
            note = f"not waited for: {reason}{stands}"
            return state, (events.Finish(Outcome.UNKNOWN, note, good=False),)

        # --- the toolstack ---
        case events.ShutdownReasonFound(now, shutdown) if state.phase in ALIVE:
            # It vanished between two listings; a domain between two incarnations looks the same.
            state = state._replace(reason=shutdown, listed=False, retry_at=None)
            if shutdown is ShutdownReason.POWEROFF and not state.restarts:
                return state, (verdict(state),)
            detail = (
                shut_down_detail(state, shutdown)
                if shutdown
                else "it is gone, and may be rebooting"
            )
            return _move(state, Phase.REBOOTING, now, detail)
        case events.HalfBuiltChecked(now, half_built=True) if (
            state.phase in ALIVE and state.info.never_ran
        ):
            detail = "its creator has died: it is half built and will never run"
            return _force(state._replace(half_built=True), now, detail)
        case events.ReaperChecked() if (
            state.phase not in {Phase.ENDED, Phase.REBOOTING} or state.destroys
        ):
            return state, ()
        case events.ReaperChecked(now, lives=True) if now < state.reaper_until:
            return state._replace(since=now, orphaned=False), ()
        case events.ReaperChecked() if state.info.dying:
            return state, (_still_listed(state),)
        case events.ReaperChecked(now, lives=True):
            return _reap(state, now, "its reaper has not done so: it is destroyed")
        case events.ReaperChecked(now) if not state.orphaned:
            # The reaper may have done its work since the last listing, and ended.
            return state._replace(since=now, orphaned=True), (events.Relist(),)
        case events.ReaperChecked(now):
            detail = "nobody reaped it, and it cannot be seen gone: it is destroyed"
            return _reap(state, now, detail)
        case events.Destroyed(now, None):
            return state._replace(since=now), (events.Relist(),)
        case events.Destroyed(now, error) if state.destroys < timing.DESTROY_TRIES:
            return _retry(state, f"could not be destroyed: {error}", now), (events.Relist(),)
        case events.Destroyed(_, error):
            outcome = Outcome.UNKNOWN if state.listing_error is not None else Outcome.FAILED
            note = f"it could not be destroyed in {state.destroys} tries: {error}"
            return state, (events.Finish(outcome, note, good=False),)

        # --- the guest ---
        case events.KindFound(kind=kind):
            return state._replace(kind=kind), ()
        case events.PoweroffFeature(now, _, supported):
            before, state = state.supported, state._replace(supported=state.supported or supported)
            if state.phase is Phase.UP:  # The first one answers ``WatchNodes``.
                return _ask(state, now, "asked to power off")
            if state.phase is Phase.ASKED and supported and before is not True:
                return _ask(state, now, "asked again: its kernel is up now")
            return state, ()
        case events.RequestWritten(now, str(error)):
            return _retry(state, f"could not be asked: {error}", now), ()
        case events.ShutdownNode(now, value=b"") if (
            state.phase is Phase.ASKED and state.retry_at is None
        ):
            return _acknowledge(state, now)
        case events.RequestCleared(now, error=str(error)) if state.phase is Phase.GIVEN_UP:
            return _retry(state, f"its request could not be taken back: {error}", now), ()
        case events.RequestCleared(now, taken=True) if state.phase is Phase.GIVEN_UP:
            return _acknowledge(state, now)
        case events.RequestCleared(now) if state.phase is Phase.GIVEN_UP:
            if state.kind is Kind.HVM and state.supported is not True:
                button = events.PressPower(state.info.domid)
                return _ask(state, now, "power button pressed, asked again", button)
            return _ask(state, now, "asked again")
        case events.Pressed(_, str(error)):
            return _remark(state, f"its power button could not be pressed: {error}"), ()
        case events.AgentReport(now, _, report, given):
            return extension.agent_reported(state, report, now, given)
        case events.AnswerFailed(answer=answer):
            return state._replace(unwritten_answer=answer), ()
    return state, ()


# --- the guest -------------------------------------------------------------------------------


def _ask(state: StopState, now: float, detail: str, *before: events.Action) -> Stepped:
    """Request the power-off; ``before``: what is done right before the request is written."""
    state, move = _move(state, Phase.ASKED, now, detail)
    state = state._replace(requests=state.requests + 1, retry_at=None)
    check = (events.CheckHalfBuilt(state.info),) if state.info.never_ran else ()
    request = events.RequestShutdown(state.info.domid, state.deadline, int(state.granted))
    return state, (*check, *move, *before, request)


def _acknowledge(state: StopState, now: float) -> Stepped:
    state = state._replace(acknowledged=True)
    return _move(state, Phase.ACKNOWLEDGED, now, "the guest took it")


# --- listings --------------------------------------------------------------------------------


def _listed(state: StopState, info: DomainInfo, now: float) -> Stepped:
    if info.domid != state.info.domid:
        # Another incarnation, whether or not the end of the last one was seen.
        ended = state.info.domid
        state = state._replace(
            info=info,
            supported=None,
            reason=None,
            acknowledged=False,
            forced=False,
            half_built=False,
            orphaned=False,
            begun_ended=False,
            seen_dying=False,
            destroys=0,
            retry_at=None,
            report=None,
            answered="",
            unwritten_answer=None,
        )
        gap: tuple[events.Action, ...] = ()
        if state.phase is not Phase.REBOOTING:
            state, gap = _move(state, Phase.REBOOTING, now, f"domid {ended} has ended")
        if not info.running:
            state, actions = _shut_down(state, info, now)
            return state, (*gap, *actions)
        state, up = _move(state, Phase.UP, now, f"it came back as domid {info.domid}")
        state, actions = _ask_while_time(state, now)
        if not state.forced:
            state = _remark(state, "it rebooted while it was to stop, and was asked again")
        return state, (*gap, *up, *actions)
    # A domain being reaped loses its name first, but its reaper and reason are found by the name.
    info = info._replace(name=info.name or state.info.name)
    state = state._replace(info=info, seen_dying=state.seen_dying or info.dying)
    if not info.running and state.phase in ALIVE:
        return _shut_down(state, info, now)
    if info.running and state.phase in {Phase.ENDED, Phase.REBOOTING}:
        # It was resumed in place after a save, or a listing had left it out.
        state = state._replace(reason=None, begun_ended=False, seen_dying=False)
        state = state._replace(destroys=0, orphaned=False, retry_at=None)
        state, move = _move(state, Phase.UP, now, "it runs again")
        state, actions = _ask_while_time(state, now)
        return state, (*move, *actions)
    if state.reason is None and info.shutdown is not None:
        state = state._replace(reason=info.shutdown)
    if state.orphaned and not state.destroys and not info.dying:
        return _reap(state, now, "nobody reaped it: it is destroyed")
    return _tick(state, now, relisted=True)


def _shut_down(state: StopState, info: DomainInfo, now: float) -> Stepped:
    """The incarnation has stopped executing; something has to reap it."""
    reason = info.shutdown
    phase = Phase.REBOOTING if state.comes_back(reason) else Phase.ENDED
    detail = shut_down_detail(state, reason) if reason else "it is being destroyed"
    ended = state._replace(
        reason=reason,
        seen_dying=info.dying,
        destroys=0,
        retry_at=None,
        ended=now,
        orphaned=False,
    )
    return _move(ended, phase, now, detail)


def _ask_while_time(state: StopState, now: float) -> Stepped:
    """Ask a domain that runs but was thought to have ended, if there is time for that."""
    if now >= state.deadline or state.destroy_wanted:
        return _force(state, now, "its time is up")
    return state, (events.WatchNodes(state.info.domid),)


# --- deadlines and force ---------------------------------------------------------------------


def _tick(state: StopState, now: float, *, relisted: bool = False) -> Stepped:
    """``relisted``: a listing has just shown it running, or has just failed."""
    if state.phase in ALIVE and now >= state.deadline:
        if state.final_listing_at < state.deadline:
            return state._replace(final_listing_at=now), (events.Relist(),)
        if relisted or now >= state.final_listing_at + timing.FINAL_LISTING:
            return _force(state, now, f"not down after {state.allowed}")
        return state, ()
    domid = state.info.domid
    if state.retry_at is not None and now >= state.retry_at:
        state = state._replace(retry_at=None)
        match state.phase:
            case Phase.ASKED:
                return _ask(state, now, "asked again")
            case Phase.GIVEN_UP:
                return state, (events.ClearRequest(domid),)
            case Phase.FORCING | Phase.ENDED | Phase.REBOOTING:
                return _destroy(state, now)
        return state, ()
    if state.retry_at is not None or now < state.since + state.patience:
        return extension.answer_pending(state, now)
    match state.phase:
        case Phase.ASKED:
            detail = f"{now - state.since:.0f} s without an answer: the request is taken back"
            state, move = _move(state, Phase.GIVEN_UP, now, detail)
            return state, (*move, events.ClearRequest(domid))
        case Phase.REBOOTING if not state.listed:
            return state, (verdict(state),)
        case Phase.REBOOTING | Phase.ENDED if not state.destroys:
            # One check at a time: two answers would be taken for the state at two times.
            return state._replace(since=now), (events.CheckReaper(state.info),)
    return state, (_still_listed(state),)


def _reap(state: StopState, now: float, detail: str) -> Stepped:
    state = _remark(state, "nobody reaped it, so this run did")
    state, move = _move(state, state.phase, now, detail)
    state, destroy = _destroy(state, now)
    return state, (*move, *destroy)


def _force(state: StopState, now: float, detail: str) -> Stepped:
    state, move = _move(state._replace(forced=True), Phase.FORCING, now, detail)
    state, destroy = _destroy(state._replace(destroys=0, retry_at=None), now)
    return state, (*move, *destroy)


def _destroy(state: StopState, now: float) -> Stepped:
    state = state._replace(destroys=state.destroys + 1, since=now)
    return state, (events.Destroy(state.info.domid),)


def _still_listed(state: StopState) -> events.Finish:
    """Time is up for a domain that has stopped executing, or that cannot be seen."""
    if state.info.dying:
        remark = "the hypervisor still lists it as dying: another domain maps its memory"
        return verdict(_remark(state, remark))
    if state.phase is Phase.FORCING:
        error = f" ({state.listing_error})" if state.listing_error is not None else ""
        note = f"it was destroyed but could not be seen gone{error}"
        return events.Finish(Outcome.UNKNOWN, note, good=False)
    return verdict(_remark(state, "it could not be seen gone"))


# --- helpers ---------------------------------------------------------------------------------


def _move(state: StopState, phase: Phase, now: float, detail: str) -> Stepped:
    check_transition(state.phase, phase)
    return state._replace(phase=phase, since=now), (events.EnterPhase(phase, detail),)


def _retry(state: StopState, remark: str, now: float) -> StopState:
    return _remark(state, remark)._replace(retry_at=now + timing.RETRY_PAUSE)


def _remark(state: StopState, remark: str) -> StopState:
    if remark in state.remarks:
        return state
    return state._replace(remarks=(*state.remarks, remark))
