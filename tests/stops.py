"""One domain's stop as tests drive it: events are fed, and what the machine wants done is kept."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.engine.events import (
    Action,
    AnswerAgent,
    CheckReaper,
    EnterPhase,
    Event,
    Finish,
    Listed,
    PoweroffFeature,
    ReaperChecked,
    Relist,
    RequestShutdown,
    RequestWritten,
    Tick,
)
from lamplighter.engine.stop import machine
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.policy import Policy, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamplighter.model.lifecycle import Phase

WEB = DomainInfo(7, UUID(int=1), "web")
POLICY = Policy(stop_timeout=Setting(180.0), ack_timeout=Setting(60.0))


def _bare(action: Action) -> Action:
    match action:
        case RequestShutdown(domid):
            return RequestShutdown(domid)
        case AnswerAgent(domid, answer):
            return AnswerAgent(domid, answer)
    return action


class Climb:
    """Feeds a ladder and keeps what it wants done."""

    def __init__(
        self,
        info: DomainInfo = WEB,
        policy: Policy = POLICY,
        *,
        destroy: bool = False,
        restarts: bool = False,
        resume: Phase | None = None,
        latest: float = inf,
    ) -> None:
        self.state, actions = machine.begin(
            info,
            policy,
            0.0,
            destroy=destroy,
            restarts=restarts,
            resume=resume,
            latest=latest,
        )
        self.actions: list[Action] = list(actions)

    def feed(self, *events: Event) -> list[Action]:
        """Feed events; return the actions of the last one that are no moves.

        Of an asking it is left out what an agent is told of the deadline, and of an answer what was
        granted before.
        """
        actions: Iterable[Action] = ()
        for event in events:
            self.state, actions = machine.step(self.state, event)
            self.actions.extend(actions)
        return [_bare(action) for action in actions if not isinstance(action, EnterPhase)]

    def asked(self, *, supported: bool | None = True) -> Climb:
        self.feed(PoweroffFeature(0.0, self.state.info.domid, supported), RequestWritten(0.0))
        return self

    def time_is_up(self, now: float) -> list[Action]:
        """Reach the deadline, and let the look that has to follow show it running."""
        assert self.feed(Tick(now)) == [Relist()]
        return self.feed(Listed(now, self.state.info))

    def nobody_reaps(self, now: float) -> list[Action]:
        """Reach the end of the grace; what would reap the domain is dead, and has not done it."""
        info = self.state.info
        assert self.feed(Tick(now)) == [CheckReaper(info)]
        assert self.feed(ReaperChecked(now, info.domid, lives=False)) == [Relist()]
        return self.feed(Listed(now, info))

    @property
    def finish(self) -> Finish:
        ends = [action for action in self.actions if isinstance(action, Finish)]
        assert len(ends) == 1
        return ends[0]


def ended(reason: ShutdownReason, domid: int = 7, *, dying: bool = False) -> DomainInfo:
    return WEB._replace(domid=domid, shutdown=reason, dying=dying)
