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
``timing.LAST_LOOK``. The time after its shutdown does not count: while the process that reaps it
lives, it is left alone until ``StopState.reaper_until``.

A request is only withdrawn in a transaction that first checks whether the guest acknowledged it,
and no value read between that and the next request is used: so an empty ``control/shutdown`` always
comes from the guest.

``engine/stop/extension`` keeps what an agent in the guest reports and answers its requests for more
time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine import timing
from lamplighter.engine.events import (
    Action,
    AgentReport,
    AnswerFailed,
    CheckHalfBuilt,
    CheckReaper,
    ClearRequest,
    Destroy,
    Destroyed,
    EnterPhase,
    Event,
    FindShutdownReason,
    Finish,
    HalfBuiltChecked,
    Interrupted,
    KindFound,
    Listed,
    ListingFailed,
    NotListed,
    PoweroffFeature,
    Pressed,
    PressPower,
    ReaperChecked,
    Relist,
    RequestCleared,
    RequestShutdown,
    RequestWritten,
    ShutdownNode,
    ShutdownReasonFound,
    Tick,
    WatchNodes,
)
from lamplighter.engine.stop import extension
from lamplighter.engine.stop.outcome import shut_down_detail, verdict
from lamplighter.engine.stop.state import ALIVE, StopState
from lamplighter.model.domain import Kind, ShutdownReason
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.run import Outcome

if TYPE_CHECKING:
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.policy import Policy

Stepped = tuple[StopState, tuple[Action, ...]]


def begin(
    sighting: DomainInfo,
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
    ladder = StopState(
        sighting=sighting,
        stop_timeout=policy.stop_timeout.value,
        rung_timeout=min(policy.ack_timeout.value, limit / timing.RUNGS),
        begun=now,
        since=now,
        destroy_wanted=destroy,
        restarts=restarts,
        latest=latest,
        extend_max=policy.extend_max.value,
    )
    if not sighting.running:
        return _shut_down(ladder._replace(begun_ended=True), sighting, now)
    if destroy:
        return _force(ladder, now, "its policy is to destroy it")
    if resume is Phase.FORCING:
        return _force(ladder, now, "its time was up in the run before, which died")
    if resume is Phase.ACKNOWLEDGED:
        ladder = ladder._replace(phase=Phase.ACKNOWLEDGED, acknowledged=True)
        ladder = _remark(ladder, "it had acknowledged the request of a run that died")
        # Recorded again under this run, because it may die, too.
        ladder, move = _move(ladder, Phase.ACKNOWLEDGED, now, "in a run before, which died")
        return ladder, (*move, WatchNodes(sighting.domid))
    return ladder, (WatchNodes(sighting.domid),)


def step(ladder: StopState, event: Event) -> Stepped:
    """Process one event."""
    match event:
        case Listed(now, sighting):
            return _seen(ladder._replace(blind="", listed=True), sighting, now)
        case NotListed(now):
            return _not_listed(ladder._replace(blind=""), now)
        case ListingFailed(now, error):
            return _tick(ladder._replace(blind=error), now, looked=True)
        case Interrupted(_, why):
            return ladder, (_interrupted(ladder, why),)
        case Tick(now):
            return _tick(ladder, now)
        case ShutdownReasonFound() | Destroyed() | ReaperChecked() | HalfBuiltChecked():
            return _toolstack(ladder, event)
    return _conversation(ladder, event)


def _toolstack(
    ladder: StopState, event: ShutdownReasonFound | Destroyed | ReaperChecked | HalfBuiltChecked
) -> Stepped:
    """Process what came of a call or a question to the toolstack."""
    match event:
        case ShutdownReasonFound(now, reason):
            return _shutdown_reason(ladder, reason, now)
        case Destroyed(now, error):
            return _destroyed(ladder, error, now)
        case ReaperChecked(now, domid, lives) if domid == ladder.sighting.domid:
            return _reaper(ladder, lives=lives, now=now)
        case HalfBuiltChecked(now, domid, half_built=True):
            return _inspected(ladder, domid, now)
    return ladder, ()


# --- the channel to the guest ----------------------------------------------------------------


def _conversation(ladder: StopState, event: Event) -> Stepped:
    match event:
        case KindFound(_, domid, kind) if domid == ladder.sighting.domid:
            return ladder._replace(kind=kind), ()
        case PoweroffFeature(now, domid, supported) if domid == ladder.sighting.domid:
            return _ready(ladder, supported, now)
        case ShutdownNode(now, domid, value) if domid == ladder.sighting.domid:
            return _request(ladder, value, now)
        case AgentReport(now, domid, words, given) if domid == ladder.sighting.domid:
            return extension.heard(ladder, words, now, given)
        case RequestWritten(now, error) if error:
            return _retry(ladder, f"could not be asked: {error}", now), ()
        case AnswerFailed(_, domid, answer) if domid == ladder.sighting.domid:
            return ladder._replace(unsaid=answer), ()
        case RequestCleared(now, taken, error):
            return _cleared(ladder, taken=taken, error=error, now=now)
        case Pressed(_, error) if error:
            return _remark(ladder, f"its power button could not be pressed: {error}"), ()
    return ladder, ()


def _ready(ladder: StopState, supported: bool | None, now: float) -> Stepped:
    """The first event answers ``WatchNodes``; a later True means that the guest has booted."""
    before, ladder = ladder.supported, ladder._replace(supported=ladder.supported or supported)
    if ladder.phase is Phase.UP:
        return _ask(ladder, now, "asked to power off")
    if ladder.phase is Phase.ASKED and supported and before is not True:
        return _ask(ladder, now, "asked again: its kernel is up now")
    return ladder, ()


def _ask(ladder: StopState, now: float, detail: str) -> Stepped:
    moved, move = _move(ladder, Phase.ASKED, now, detail)
    asked = moved._replace(since=now, requests=ladder.requests + 1, retry_at=None)
    look = (CheckHalfBuilt(ladder.sighting),) if ladder.sighting.never_ran else ()
    return asked, (
        *look,
        *move,
        RequestShutdown(ladder.sighting.domid, ladder.deadline, int(ladder.granted)),
    )


def _request(ladder: StopState, value: bytes | None, now: float) -> Stepped:
    if ladder.phase is not Phase.ASKED or ladder.retry_at is not None or value != b"":
        return ladder, ()
    return _move(ladder._replace(acknowledged=True), Phase.ACKNOWLEDGED, now, "the guest took it")


def _give_up(ladder: StopState, now: float) -> Stepped:
    waited = f"{now - ladder.since:.0f} s without an answer"
    moved, move = _move(ladder, Phase.GIVEN_UP, now, f"{waited}: the request is taken back")
    return moved, (*move, ClearRequest(ladder.sighting.domid))


def _cleared(ladder: StopState, *, taken: bool, error: str, now: float) -> Stepped:
    if ladder.phase is not Phase.GIVEN_UP:
        return ladder, ()
    if error:
        return _retry(ladder, f"its request could not be taken back: {error}", now), ()
    if taken:
        return _move(
            ladder._replace(acknowledged=True), Phase.ACKNOWLEDGED, now, "the guest took it"
        )
    button: tuple[Action, ...] = ()
    if ladder.kind is Kind.HVM and ladder.supported is not True:
        button = (PressPower(ladder.sighting.domid),)
    asked, actions = _ask(
        ladder, now, "power button pressed, asked again" if button else "asked again"
    )
    return asked, (*actions[:-1], *button, actions[-1])


# --- listings --------------------------------------------------------------------------------


def _seen(ladder: StopState, sighting: DomainInfo, now: float) -> Stepped:
    if sighting.domid != ladder.sighting.domid:
        return _came_back(ladder, sighting, now)
    # A domain being reaped loses its name first, but its reaper and reason are found by the name.
    sighting = sighting._replace(name=sighting.name or ladder.sighting.name)
    ladder = ladder._replace(sighting=sighting, seen_dying=ladder.seen_dying or sighting.dying)
    if not sighting.running and ladder.phase in ALIVE:
        return _shut_down(ladder, sighting, now)
    if sighting.running and ladder.phase in {Phase.ENDED, Phase.REBOOTING}:
        return _lives_on(ladder, now)
    if ladder.reason is None and sighting.shutdown is not None:
        ladder = ladder._replace(reason=sighting.shutdown)
    if ladder.orphaned and not ladder.destroys and not sighting.dying:
        return _reap(ladder, now, "nobody reaped it: it is taken away")
    return _tick(ladder, now, looked=True)


def _lives_on(ladder: StopState, now: float) -> Stepped:
    """It runs after all: resumed in place after a save, or a listing had left it out."""
    ladder = ladder._replace(
        reason=None, begun_ended=False, seen_dying=False, destroys=0, orphaned=False
    )
    moved, move = _move(ladder._replace(retry_at=None), Phase.UP, now, "it runs again")
    ladder, actions = _turn_to(moved, now)
    return ladder, (*move, *actions)


def _shut_down(ladder: StopState, sighting: DomainInfo, now: float) -> Stepped:
    """The incarnation has stopped executing; something has to reap it."""
    reason = sighting.shutdown
    phase = Phase.REBOOTING if ladder.comes_back(reason) else Phase.ENDED
    detail = shut_down_detail(ladder, reason) if reason else "it is being destroyed"
    ended = ladder._replace(
        reason=reason,
        seen_dying=sighting.dying,
        destroys=0,
        retry_at=None,
        ended=now,
        orphaned=False,
    )
    return _move(ended, phase, now, detail)


def _came_back(ladder: StopState, sighting: DomainInfo, now: float) -> Stepped:
    """Another incarnation is listed, whether or not the end of the last one was seen."""
    last, came = ladder, f"it came back as domid {sighting.domid}"
    ladder = ladder._replace(
        sighting=sighting,
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
        words=None,
        answered="",
        unsaid=None,
    )
    gap: tuple[Action, ...] = ()
    if last.phase is not Phase.REBOOTING:
        ladder, gap = _move(ladder, Phase.REBOOTING, now, f"domid {last.sighting.domid} has ended")
    if not sighting.running:
        ended, actions = _shut_down(ladder, sighting, now)
        return ended, (*gap, *actions)
    ladder, up = _move(ladder, Phase.UP, now, came)
    ladder, actions = _turn_to(ladder, now)
    if not ladder.forced:
        ladder = _remark(ladder, "it rebooted while it was to stop, and was asked again")
    return ladder, (*gap, *up, *actions)


def _turn_to(ladder: StopState, now: float) -> Stepped:
    """Ask a domain that runs but was thought to have ended, if there is time for that."""
    if now >= ladder.deadline or ladder.destroy_wanted:
        return _force(ladder, now, "its time is up")
    return ladder, (WatchNodes(ladder.sighting.domid),)


def _not_listed(ladder: StopState, now: float) -> Stepped:
    if ladder.phase is Phase.FORCING or ladder.phase is Phase.ENDED:
        return ladder, (verdict(ladder),)
    if ladder.phase is not Phase.REBOOTING:
        return ladder, (FindShutdownReason(ladder.sighting),)
    if ladder.listed:
        return ladder._replace(listed=False, since=now, retry_at=None), ()
    return _tick(ladder, now)


def _shutdown_reason(ladder: StopState, reason: ShutdownReason | None, now: float) -> Stepped:
    """It vanished between two listings; a domain between two incarnations looks the same."""
    if ladder.phase not in ALIVE:
        return ladder, ()
    ladder = ladder._replace(reason=reason, listed=False, retry_at=None)
    if reason is ShutdownReason.POWEROFF and not ladder.restarts:
        return ladder, (verdict(ladder),)
    if reason is None:
        return _move(ladder, Phase.REBOOTING, now, "it is gone, and may be rebooting")
    return _move(ladder, Phase.REBOOTING, now, shut_down_detail(ladder, reason))


def _inspected(ladder: StopState, domid: int, now: float) -> Stepped:
    if ladder.phase not in ALIVE or domid != ladder.sighting.domid or not ladder.sighting.never_ran:
        return ladder, ()
    why = "what created it has died over it: it is half made and will never run"
    return _force(ladder._replace(half_built=True), now, why)


# --- deadlines and force ---------------------------------------------------------------------


def _tick(ladder: StopState, now: float, *, looked: bool = False) -> Stepped:
    """``looked``: a listing has just shown it running, or has just failed."""
    if ladder.phase in ALIVE and now >= ladder.deadline:
        if ladder.last_look < ladder.deadline:
            return ladder._replace(last_look=now), (Relist(),)
        if looked or now >= ladder.last_look + timing.LAST_LOOK:
            return _force(ladder, now, f"not down after {ladder.allowed}")
        return ladder, ()
    if ladder.retry_at is not None and now >= ladder.retry_at:
        return _try_again(ladder._replace(retry_at=None), now)
    if ladder.retry_at is not None or now < ladder.since + ladder.patience:
        return extension.consider(ladder, now)
    match ladder.phase:
        case Phase.ASKED:
            return _give_up(ladder, now)
        case Phase.REBOOTING if not ladder.listed:
            return ladder, (verdict(ladder),)
        case Phase.REBOOTING | Phase.ENDED if not ladder.destroys:
            # One check at a time: two answers would be taken for the state at two times.
            return ladder._replace(since=now), (CheckReaper(ladder.sighting),)
    return ladder, (_still_listed(ladder),)


def _reaper(ladder: StopState, *, lives: bool, now: float) -> Stepped:
    if ladder.phase not in {Phase.ENDED, Phase.REBOOTING} or ladder.destroys:
        return ladder, ()
    if lives and now < ladder.reaper_until:
        return ladder._replace(since=now, orphaned=False), ()
    if not lives and not ladder.orphaned and not ladder.sighting.dying:
        # The reaper may have done its work since the last listing, and ended.
        return ladder._replace(since=now, orphaned=True), (Relist(),)
    if ladder.sighting.dying:
        return ladder, (_still_listed(ladder),)
    if lives:
        return _reap(ladder, now, "what reaps it has not done so: it is taken away")
    return _reap(ladder, now, "nobody reaped it, and it cannot be seen gone: it is taken away")


def _reap(ladder: StopState, now: float, why: str) -> Stepped:
    remarked = _remark(ladder, "nobody reaped it, so this run did")
    moved, move = _move(remarked, ladder.phase, now, why)
    reaped, destroy = _destroy(moved, now)
    return reaped, (*move, *destroy)


def _try_again(ladder: StopState, now: float) -> Stepped:
    match ladder.phase:
        case Phase.ASKED:
            return _ask(ladder, now, "asked again")
        case Phase.GIVEN_UP:
            return ladder, (ClearRequest(ladder.sighting.domid),)
        case Phase.FORCING | Phase.ENDED | Phase.REBOOTING:
            return _destroy(ladder, now)
    return ladder, ()


def _force(ladder: StopState, now: float, why: str) -> Stepped:
    moved, move = _move(ladder._replace(forced=True), Phase.FORCING, now, why)
    forced, destroy = _destroy(moved._replace(destroys=0, retry_at=None), now)
    return forced, (*move, *destroy)


def _destroy(ladder: StopState, now: float) -> Stepped:
    tried = ladder._replace(destroys=ladder.destroys + 1, since=now)
    return tried, (Destroy(ladder.sighting.domid),)


def _destroyed(ladder: StopState, error: str, now: float) -> Stepped:
    if not error:
        return ladder._replace(since=now), (Relist(),)
    if ladder.destroys < timing.DESTROY_TRIES:
        return _retry(ladder, f"could not be destroyed: {error}", now), (Relist(),)
    outcome = Outcome.UNKNOWN if ladder.blind else Outcome.FAILED
    note = f"it could not be destroyed in {ladder.destroys} tries: {error}"
    return ladder, (Finish(outcome, note, good=False),)


def _still_listed(ladder: StopState) -> Finish:
    """Time is up for a domain that has stopped executing, or that cannot be seen."""
    if ladder.sighting.dying:
        remark = "the hypervisor still lists it as dying: another domain maps its memory"
        return verdict(_remark(ladder, remark))
    if ladder.phase is Phase.FORCING:
        seen = f" ({ladder.blind})" if ladder.blind else ""
        note = f"it was destroyed but could not be seen gone{seen}"
        return Finish(Outcome.UNKNOWN, note, good=False)
    return verdict(_remark(ladder, "it could not be seen gone"))


def _interrupted(ladder: StopState, why: str) -> Finish:
    if ladder.phase is Phase.ENDED:
        return verdict(_remark(ladder, f"not waited for: {why}"))
    stands = "; the request to power off stands" if ladder.phase is Phase.ASKED else ""
    return Finish(Outcome.UNKNOWN, f"not waited for: {why}{stands}", good=False)


# --- helpers ---------------------------------------------------------------------------------


def _move(ladder: StopState, phase: Phase, now: float, detail: str) -> Stepped:
    check_transition(ladder.phase, phase)
    return ladder._replace(phase=phase, since=now), (EnterPhase(phase, detail),)


def _retry(ladder: StopState, remark: str, now: float) -> StopState:
    return _remark(ladder, remark)._replace(retry_at=now + timing.RETRY_PAUSE)


def _remark(ladder: StopState, remark: str) -> StopState:
    if remark in ladder.remarks:
        return ladder
    return ladder._replace(remarks=(*ladder.remarks, remark))
