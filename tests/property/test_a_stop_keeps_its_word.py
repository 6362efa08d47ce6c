"""Whatever a guest, XenStore and the toolstack do, and in whatever order, a stop keeps its word."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.engine import timing
from lamplighter.engine.events import (
    Action,
    AgentReport,
    AnswerAgent,
    AnswerFailed,
    CheckReaper,
    ClearRequest,
    Destroy,
    Destroyed,
    EnterPhase,
    Event,
    FindShutdownReason,
    Finish,
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
from lamplighter.engine.stop import machine
from lamplighter.engine.stop.state import ALIVE, StopState
from lamplighter.formats import agent_protocol
from lamplighter.model.domain import DomainInfo, Kind, ShutdownReason
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.policy import Policy, Setting
from lamplighter.model.run import Outcome

POLICY = Policy(stop_timeout=Setting(60.0), ack_timeout=Setting(15.0))
HONEST = frozenset({ShutdownReason.POWEROFF, ShutdownReason.REBOOT})

#: Whatever a guest writes: words, nearly words, anything. Of a request's id there are few, each
#: with seconds of its own, so that it is known what was granted.
WORDS = {
    "version": st.sampled_from([b"1 0.2.0", b"1 0.2.0", b"2 9", b"\xff", None]),
    "ready": st.binary(max_size=20),
    "progress": st.sampled_from([b"40 stopping", b"101 x", b"\x00", None]),
    "more": st.sampled_from([b"k1 1", b"k2 5", b"k3 30 why", b"k4 86400", b"k5 0", b"k6", None]),
    "forced": st.sampled_from([None, None, None, b"poweroff", b"reboot why", b"burn"]),
}
GIVEN = st.builds(
    agent_protocol.Grants, st.sampled_from(["", "k1"]), st.sampled_from([0, 0, 3, 40, 86400])
)
ERRORS = st.sampled_from([None, None, "it failed"])

# A strategy that is made anew for each draw costs more than the draw.
SURE = st.booleans()
SURE_OR_NOT = st.sampled_from([True, False, None])
REASONS = st.sampled_from([None, *ShutdownReason])
PAUSES = st.sampled_from([0.0, 0.5, 3.0, 20.0])
EVENTS = st.sampled_from(
    ["seen", "seen", "gone", "blind", "request", "ready", "new", *["words"] * 4]
)
LISTINGS = st.sampled_from(["works", "fails", "hangs"])
REQUESTS = st.sampled_from([b"poweroff", b"", b"\xff" * 4096, None])
ANOTHERS = st.sampled_from([False, False, True])
WRITTEN = st.fixed_dictionaries(WORDS)
#: What a listing says of an incarnation: that it runs, or anything.
SEEN = st.one_of(st.just((None, False)), st.tuples(REASONS, st.booleans()))


@dataclass
class World:
    """Answers actions at random and watches what the ladder does."""

    data: st.DataObject
    now: float = 0.0
    phase: Phase = Phase.UP
    kind: Kind = Kind.PV
    ended: set[int] = field(default_factory=set)
    shown: DomainInfo | None = None
    reasons: set[ShutdownReason] = field(default_factory=set)
    finish: Finish | None = None
    extend_max: float = 0.0
    latest: float = inf
    granted: float = 0.0
    asked_for: dict[str, int] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)

    @property
    def earliest(self) -> float:
        """Before this moment nothing that lives is destroyed."""
        return min(POLICY.stop_timeout.value, self.latest)

    @property
    def last(self) -> float:
        """After this moment its time is up: its own, and no more than may be granted or is left."""
        return min(POLICY.stop_timeout.value + self.extend_max, self.latest)

    @property
    def forced(self) -> float:
        """After this moment nothing lives, whatever a last look shows or does not."""
        return max(self.last, 0.0) + timing.FINAL_LISTING

    def do(self, action: Action, state: StopState) -> list[Event]:
        now = self.now
        match action:
            case EnterPhase(phase):
                self.phase = check_transition(self.phase, phase)
            case WatchNodes(domid):
                told = self.data.draw(SURE)
                supported = self.data.draw(SURE_OR_NOT)
                return [
                    *([KindFound(now, domid, self.kind)] * told),
                    PoweroffFeature(now, domid, supported),
                ]
            case RequestShutdown():
                return [RequestWritten(now, self.data.draw(ERRORS))]
            case ClearRequest():
                return [RequestCleared(now, self.data.draw(SURE), self.data.draw(ERRORS))]
            case PressPower():
                return [Pressed(now, self.data.draw(ERRORS))]
            case Destroy(domid):
                assert now >= self.earliest or domid in self.ended, "too early"
                return [Destroyed(now, self.data.draw(ERRORS))]
            case Finish():
                self.finish = action
            case Relist() | CheckReaper() | FindShutdownReason() | AnswerAgent():
                return self.tell(action)
        return []

    def tell(self, action: Relist | CheckReaper | FindShutdownReason | AnswerAgent) -> list[Event]:
        """Answer what is asked of the toolstack, and take what a guest is told."""
        match action:
            case Relist():
                return self.look()
            case CheckReaper(info):
                return [ReaperChecked(self.now, info.domid, self.data.draw(SURE))]
            case FindShutdownReason():
                return [self.shutdown_reason()]
            case AnswerAgent(domid, answer):
                return self.note(domid, answer)

    def look(self) -> list[Event]:
        """A listing that begins now shows what is there, fails, or does not come."""
        match self.data.draw(LISTINGS):
            case "works":
                return [Listed(self.now, self.shown) if self.shown else NotListed(self.now)]
            case "fails":
                return [ListingFailed(self.now, "the toolstack fails")]
        return []

    def shutdown_reason(self) -> ShutdownReasonFound:
        reason = self.data.draw(REASONS)
        if reason is not None:
            self.reasons.add(reason)
        return ShutdownReasonFound(self.now, reason)

    def note(self, domid: int, answer: agent_protocol.Answer) -> list[Event]:
        """Grants are bounded, and so is how often anything is answered."""
        assert not self.answers or self.now - self.answers[-1] >= timing.ANSWER_PAUSE
        self.answers.append(self.now)
        written = not self.data.draw(ERRORS)
        if answer.left is None:
            assert answer.why
        else:
            self.granted += self.asked_for[answer.id] if written else 0
            assert self.granted <= self.extend_max
            assert 0 <= answer.left <= self.last - self.now
        return [] if written else [AnswerFailed(self.now, domid, answer)]


@settings(max_examples=300, deadline=None)
@given(
    st.data(),
    st.sampled_from(Kind),
    st.sampled_from([0.0, 0.0, 5.0, 60.0]),
    st.sampled_from([inf, inf, 90.0, 30.0, 0.0]),
)
def test_every_stop_ends_and_keeps_its_invariants(
    data: st.DataObject, kind: Kind, extend_max: float, latest: float
) -> None:
    domid = 7
    policy = POLICY._replace(extend_max=Setting(extend_max))
    info = DomainInfo(domid, UUID(int=1), "web")
    world = World(data, kind=kind, shown=info, extend_max=extend_max, latest=latest)
    state, actions = machine.begin(info, policy, 0.0, latest=latest)
    pending: list[Event] = []
    for turn in range(400):
        for action in actions:
            pending.extend(world.do(action, state))
            if world.finish:
                break
        if world.finish:
            break
        if not pending and turn < 60:
            world.now += data.draw(PAUSES)
            pending.append(draw_event(data, world, domid))
            domid = max(domid, getattr(getattr(pending[0], "sighting", None), "domid", 0))
        elif not pending:
            assert state.phase not in ALIVE or state.wake <= max(world.now, world.forced)
            world.now = max(world.now, state.wake)
            pending.append(Tick(world.now))
        state, actions = machine.step(state, pending.pop(0))
        assert state.granted <= extend_max
        if not pending and not actions:
            sleeps(state, world.now)
        if not pending and turn >= 60:
            assert not actions or state.phase not in ALIVE or world.now <= world.forced
    assert world.finish is not None, f"it never ends: {state}"
    if world.finish.outcome is Outcome.CLEAN:
        assert world.reasons & HONEST
        assert not state.forced
        assert state.report is None or state.report.forced is None
    assert not (world.finish.good and world.finish.outcome in {Outcome.FORCED, Outcome.UNKNOWN})


def sleeps(state: StopState, now: float) -> None:
    """Whoever wants to be woken at once has something to do then."""
    if state.wake <= now:
        assert machine.step(state, Tick(now)) != (state, ()), "woken for nothing, for ever"


def draw_event(data: st.DataObject, world: World, domid: int) -> Event:
    choice = data.draw(EVENTS)
    match choice:
        case "seen" | "new":
            which = domid + (choice == "new")
            reason, dying = data.draw(SEEN)
            info = DomainInfo(which, UUID(int=1), "web", shutdown=reason, dying=dying)
            if not info.running:
                world.ended.add(which)
            if info.shutdown is not None:
                world.reasons.add(info.shutdown)
            world.shown = info
            return Listed(world.now, info)
        case "gone":
            world.shown = None
            return NotListed(world.now)
        case "blind":
            return ListingFailed(world.now, "the toolstack hangs")
        case "request":
            value = data.draw(REQUESTS)
            return ShutdownNode(world.now, domid, value)
        case "words":
            words = agent_protocol.parse_agent_nodes(data.draw(WRITTEN))
            if words is not None:
                if words.more is not None:
                    world.asked_for[words.more.id] = words.more.seconds
                whose = 3 if data.draw(ANOTHERS) else domid
                return AgentReport(world.now, whose, words, data.draw(GIVEN))
    return PoweroffFeature(world.now, domid, data.draw(SURE_OR_NOT))
