"""The state of one domain's stop, which ``engine/stop/machine`` steps from event to event."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import timing
from lamplighter.model.domain import Kind, ShutdownReason
from lamplighter.model.lifecycle import Phase

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import AgentStatus, Answer, TimeRequest
    from lamplighter.model.domain import DomainInfo

#: An incarnation that ended like this may be followed by another one.
COMES_BACK = frozenset(
    {
        ShutdownReason.REBOOT,
        ShutdownReason.CRASH,
        ShutdownReason.WATCHDOG,
        ShutdownReason.SOFT_RESET,
    },
)

#: Phases in which the domain still executes and its time may run out.
ALIVE = frozenset({Phase.UP, Phase.ASKED, Phase.GIVEN_UP, Phase.ACKNOWLEDGED})

#: Phases in which a guest's request for more time is answered.
EXTENDABLE = frozenset({Phase.ASKED, Phase.ACKNOWLEDGED})


class StopState(NamedTuple):
    """The state of one domain's stop. Times are host seconds on the events' clock.

    ``since`` is when the phase, or the present wait in it, began; ``listed`` whether the last
    successful listing contained the domain; ``retry_at`` when a failed call is tried again;
    ``reason`` why the current incarnation shut down, as far as it was seen. ``supported`` stays
    True once the kernel has advertised it. ``kind`` is None until it is known. ``restarts``: the
    definition has the domain created again when it powers off. ``half_built``: the creator of the
    incarnation left it half built. ``ended`` is when the incarnation was seen to have stopped
    executing, ``final_listing_at`` when the listing was requested that decides whether it is
    forced; ``listing_error`` is why the last listing failed, None when it did not. ``orphaned``:
    the process that reaps it is gone, and the next listing shows whether it has reaped it.

    ``latest`` is when the whole run wants the domain down, ``granted`` how many seconds of
    ``extend_max`` were granted to its guest. ``report`` is the newest agent report of this
    incarnation, ``answered`` the id of its last request for more time that was answered; no other
    is answered before ``answer_at``. ``last_grant`` is how many seconds that answer granted, and
    ``unwritten_answer`` the answer if it could not be written.
    """

    info: DomainInfo
    stop_timeout: float
    request_timeout: float
    begun: float
    since: float
    destroy_wanted: bool = False
    restarts: bool = False
    phase: Phase = Phase.UP
    supported: bool | None = None
    kind: Kind | None = None
    listed: bool = True
    reason: ShutdownReason | None = None
    acknowledged: bool = False
    forced: bool = False
    half_built: bool = False
    begun_ended: bool = False
    seen_dying: bool = False
    requests: int = 0
    destroys: int = 0
    retry_at: float | None = None
    final_listing_at: float = -inf
    ended: float = -inf
    orphaned: bool = False
    listing_error: str | None = None
    remarks: tuple[str, ...] = ()
    latest: float = inf
    extend_max: float = 0.0
    granted: float = 0.0
    answers: int = 0
    report: AgentStatus | None = None
    answered: str = ""
    last_grant: float = 0.0
    unwritten_answer: Answer | None = None
    answer_at: float = -inf

    @property
    def own_deadline(self) -> float:
        """When the stop's own time, from policy and grants, is up."""
        return self.begun + self.stop_timeout + self.granted

    @property
    def deadline(self) -> float:
        """When the whole stop's time is up."""
        return min(self.own_deadline, self.latest)

    @property
    def pending(self) -> TimeRequest | None:
        """The guest's request for more time that is still to be answered.

        A guest that forces its own end is not answered: its end is near, and nothing else is to be
        recorded after it.
        """
        if self.report is None or self.report.more is None or self.report.forced is not None:
            return None
        unanswered = self.report.more.id != self.answered or self.unwritten_answer is not None
        return self.report.more if unanswered else None

    @property
    def allowed(self) -> str:
        """How long the stop may take, as text for a person."""
        if self.latest < self.own_deadline:
            taken = max(0.0, self.latest - self.begun)
            return f"{taken:.0f} s, when the host's stop_budget was used up"
        granted = f" ({self.granted:g} s of them granted)" if self.granted else ""
        return f"{self.stop_timeout + self.granted:g} s{granted}"

    @property
    def being_saved(self) -> bool:
        """True while another tool may still read its memory: reaping it now would lose that."""
        suspended = self.reason is ShutdownReason.SUSPEND
        return suspended and not self.info.dying and not self.destroys

    @property
    def reaper_until(self) -> float:
        """Until when the process that has to reap the domain is left alone while it lives."""
        if self.being_saved:
            return self.deadline
        return min(self.latest, max(self.deadline, self.ended + timing.REAPER_TIME))

    def comes_back(self, reason: ShutdownReason | None) -> bool:
        """Return whether another incarnation may follow one that ended like this."""
        return reason in COMES_BACK or (self.restarts and reason is ShutdownReason.POWEROFF)

    @property
    def patience(self) -> float:
        """How long the present phase may last; infinite when only the deadline ends it."""
        match self.phase:
            case Phase.ASKED if self.kind is Kind.HVM and self.supported is not True:
                return min(self.request_timeout, timing.HVM_SILENCE)
            case Phase.ASKED:
                return self.request_timeout
            case Phase.REBOOTING if not self.listed:
                return timing.REBOOT_GAP
            case Phase.ENDED if self.being_saved and not self.orphaned:
                return max(timing.REAP_GRACE, self.deadline - self.since)
            case Phase.REBOOTING | Phase.ENDED if not self.info.dying and not self.destroys:
                if self.orphaned:  # until a listing shows whether it is gone
                    left = self.latest - self.since
                    return max(timing.FINAL_LISTING, min(timing.ORPHAN_LISTING, left))
                # until the next check whether the process that reaps it lives
                left, age = self.reaper_until - self.since, self.since - self.ended
                return max(timing.REAP_GRACE, min(timing.REAP_PAUSE, age, left))
            case Phase.REBOOTING | Phase.ENDED | Phase.FORCING:
                return timing.ZOMBIE_GRACE
        return float("inf")

    @property
    def wake(self) -> float:
        """The latest time at which a ``Tick`` is wanted; a retry comes before ``patience``."""
        step = self.since + self.patience if self.retry_at is None else self.retry_at
        if self.pending is not None and self.phase in EXTENDABLE:
            step = min(step, self.answer_at)
        if self.phase not in ALIVE:
            return step
        if self.final_listing_at >= self.deadline:
            return self.final_listing_at + timing.FINAL_LISTING
        return min(step, self.deadline)
