"""Whatever a guest, XenStore and the toolstack do, and in whatever order, a stop keeps its word."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.engine import ladder
from lamplighter.engine.events import (
    Action,
    Ask,
    Asked,
    Attend,
    Blind,
    Clear,
    Cleared,
    Destroy,
    Destroyed,
    Epitaph,
    Event,
    Finish,
    Inquire,
    Move,
    NotListed,
    Pressed,
    PressPower,
    Ready,
    Request,
    Seen,
    Tick,
)
from lamplighter.model.domain import Kind, ShutdownReason, Sighting
from lamplighter.model.lifecycle import Phase, check_transition
from lamplighter.model.outcome import Outcome
from lamplighter.model.policy import Policy, Setting

POLICY = Policy(stop_timeout=Setting(60.0), ack_timeout=Setting(15.0))
HONEST = frozenset({ShutdownReason.POWEROFF, ShutdownReason.REBOOT})
ERRORS = st.sampled_from(["", "", "it failed"])


@dataclass
class World:
    """Answers actions at random and watches what the ladder does."""

    data: st.DataObject
    now: float = 0.0
    phase: Phase = Phase.UP
    ended: set[int] = field(default_factory=set)
    reasons: set[ShutdownReason] = field(default_factory=set)
    finish: Finish | None = None

    def do(self, action: Action, state: ladder.Ladder) -> list[Event]:
        now = self.now
        match action:
            case Move(phase):
                self.phase = check_transition(self.phase, phase)
            case Attend(domid):
                return [Ready(now, domid, self.data.draw(st.sampled_from([True, False, None])))]
            case Ask():
                return [Asked(now, self.data.draw(ERRORS))]
            case Clear():
                return [Cleared(now, self.data.draw(st.booleans()), self.data.draw(ERRORS))]
            case PressPower():
                return [Pressed(now, self.data.draw(ERRORS))]
            case Destroy(domid):
                assert now >= POLICY.stop_timeout.value or domid in self.ended, "too early"
                return [Destroyed(now, self.data.draw(ERRORS))]
            case Inquire():
                reason = self.data.draw(st.sampled_from([None, *ShutdownReason]))
                if reason is not None:
                    self.reasons.add(reason)
                return [Epitaph(now, reason)]
            case Finish():
                self.finish = action
        return []


def sightings(domid: int, kind: Kind) -> st.SearchStrategy[Sighting]:
    base = Sighting(domid, UUID(int=1), "web", kind)
    return st.one_of(
        st.just(base),
        st.builds(
            lambda reason, dying: base._replace(shutdown=reason, dying=dying),
            st.sampled_from([None, *ShutdownReason]),
            st.booleans(),
        ),
    )


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(Kind))
def test_every_stop_ends_and_keeps_its_invariants(data: st.DataObject, kind: Kind) -> None:
    world = World(data)
    domid = 7
    state, actions = ladder.begin(Sighting(domid, UUID(int=1), "web", kind), POLICY, 0.0)
    pending: list[Event] = []
    for turn in range(400):
        for action in actions:
            pending.extend(world.do(action, state))
            if world.finish:
                break
        if world.finish:
            break
        if not pending and turn < 60:
            world.now += data.draw(st.sampled_from([0.0, 0.5, 3.0, 20.0]))
            pending.append(draw_event(data, world, domid, kind))
            domid = max(domid, getattr(getattr(pending[0], "sighting", None), "domid", 0))
        elif not pending:
            world.now = max(world.now, state.wake)
            pending.append(Tick(world.now))
        state, actions = ladder.step(state, pending.pop(0))
    assert world.finish is not None, f"it never ends: {state}"
    if world.finish.outcome is Outcome.CLEAN:
        assert world.reasons & HONEST
        assert not state.forced
    assert not (world.finish.good and world.finish.outcome in {Outcome.FORCED, Outcome.UNKNOWN})


def draw_event(data: st.DataObject, world: World, domid: int, kind: Kind) -> Event:
    choice = data.draw(
        st.sampled_from(["seen", "seen", "gone", "blind", "request", "ready", "new"])
    )
    match choice:
        case "seen" | "new":
            which = domid + (choice == "new")
            sighting = data.draw(sightings(which, kind))
            if not sighting.running:
                world.ended.add(which)
            if sighting.shutdown is not None:
                world.reasons.add(sighting.shutdown)
            return Seen(world.now, sighting)
        case "gone":
            return NotListed(world.now)
        case "blind":
            return Blind(world.now, "the toolstack hangs")
        case "request":
            value = data.draw(st.sampled_from([b"poweroff", b"", b"\xff" * 4096, None]))
            return Request(world.now, domid, value)
    return Ready(world.now, domid, data.draw(st.sampled_from([True, False, None])))
