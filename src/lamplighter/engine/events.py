"""Events and actions of the state machines that stop and start one domain.

``engine/stop/machine`` and ``engine/start`` have the same shape:
``step(state, event) -> (state, actions)``. Time reaches them only as the ``now`` of an event, in
host seconds; the state's ``wake`` is the latest time at which a ``Tick`` is wanted.

Actions are carried out in order, one after another, and each result comes back as an event before
any other event is delivered. An ``EnterPhase`` is on disk before the action after it is begun.
Where a result has an ``error``, it says why the action failed; None: it did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import NO_GRANTS

if TYPE_CHECKING:
    from lamplighter.formats import agent_protocol
    from lamplighter.model.domain import DomainInfo, Kind, ShutdownReason
    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.run import Outcome


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was seen or that completed, at ``now``."""

    now: float


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Listed(Event):
    """A listing contains the domain."""

    info: DomainInfo


@dataclass(frozen=True, slots=True)
class NotListed(Event):
    """A successful listing does not contain it: it is gone, or between two incarnations."""


@dataclass(frozen=True, slots=True)
class ListingFailed(Event):
    """The toolstack could not list the domains. That says nothing about this one."""

    error: str


@dataclass(frozen=True, slots=True)
class KindFound(Event):
    """How this incarnation is virtualised."""

    domid: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class ShutdownNode(Event):
    """The value of this incarnation's ``control/shutdown``; None: the domain's nodes are gone."""

    domid: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class PoweroffFeature(Event):
    """Whether this incarnation's kernel advertises that it takes requests to power off.

    True: it does (``1``). False: it advertises that it does not (``0``). None: nothing yet.
    """

    domid: int
    supported: bool | None


@dataclass(frozen=True, slots=True)
class AgentReport(Event):
    """What an agent in this incarnation reports; a guest without an agent causes no such event.

    ``given`` is what earlier runs have answered and granted, as its nodes had it when this run
    read them for the first time.
    """

    domid: int
    status: agent_protocol.AgentStatus
    given: agent_protocol.Grants = NO_GRANTS


@dataclass(frozen=True, slots=True)
class RequestWritten(Event):
    """The request was written, or could not be."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerFailed(Event):
    """An answer to this incarnation's request for more time could not be written."""

    domid: int
    answer: agent_protocol.Answer


@dataclass(frozen=True, slots=True)
class RequestCleared(Event):
    """The request was withdrawn; ``taken``: the guest had acknowledged it before that."""

    taken: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pressed(Event):
    """The power button was pressed, or could not be."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Destroyed(Event):
    """The call to destroy returned, or failed."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Created(Event):
    """The call to create returned, or failed.

    ``domid`` is None where it failed, and where XenStore did not have it: then a listing has it.
    """

    domid: int | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CreatorChecked(Event):
    """Whether a process that no run of ours waits for is creating the domain at this moment."""

    creating: bool


@dataclass(frozen=True, slots=True)
class HalfBuiltChecked(Event):
    """Whether an incarnation that has never run was left half built, so that it never will."""

    domid: int
    half_built: bool


@dataclass(frozen=True, slots=True)
class HeldMeanwhile(Event):
    """The domain was held after it was planned and must not be created; ``why`` for a person."""

    why: str


@dataclass(frozen=True, slots=True)
class ShutdownReasonFound(Event):
    """Why a vanished incarnation ended, from the toolstack's own record; None: not known."""

    reason: ShutdownReason | None


@dataclass(frozen=True, slots=True)
class ReaperChecked(Event):
    """Whether the process that reaps this incarnation after its shutdown is alive."""

    domid: int
    lives: bool


@dataclass(frozen=True, slots=True)
class Interrupted(Event):
    """The run is to end now; nothing new is begun."""

    why: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the worker carries out."""


@dataclass(frozen=True, slots=True)
class EnterPhase(Action):
    """The domain is now in this phase; ``detail`` says why, for a person."""

    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WatchNodes(Action):
    """Watch the XenStore nodes of this incarnation from now on."""

    domid: int


@dataclass(frozen=True, slots=True)
class RequestShutdown(Action):
    """Write ``poweroff`` into ``control/shutdown``; answered by ``RequestWritten``.

    ``until`` is when the domain is destroyed, for a note to an agent; infinite: there is no note.
    ``granted`` is how many of the seconds until then were granted to it before.
    """

    domid: int
    until: float = inf
    granted: int = 0


@dataclass(frozen=True, slots=True)
class TellDeadline(Action):
    """Write only the note of ``RequestShutdown`` for the agent; the guest already has the request.

    No event answers it.
    """

    domid: int
    until: float
    granted: int = 0


@dataclass(frozen=True, slots=True)
class AnswerAgent(Action):
    """Answer a guest's request for more time; ``AnswerFailed`` comes if it could not be written.

    ``granted`` is the total of seconds granted to the guest until now.
    """

    domid: int
    answer: agent_protocol.Answer
    granted: int = 0


@dataclass(frozen=True, slots=True)
class ClearRequest(Action):
    """Withdraw the request if it is not acknowledged yet; answered by ``RequestCleared``."""

    domid: int


@dataclass(frozen=True, slots=True)
class PressPower(Action):
    """Press the ACPI power button; answered by ``Pressed``."""

    domid: int


@dataclass(frozen=True, slots=True)
class Destroy(Action):
    """Destroy the incarnation; answered by ``Destroyed``."""

    domid: int


@dataclass(frozen=True, slots=True)
class Create(Action):
    """Create the domain from its definition; answered by ``Created``."""


@dataclass(frozen=True, slots=True)
class CheckCreator(Action):
    """Find out whether something is creating the domain; answered by ``CreatorChecked``."""


@dataclass(frozen=True, slots=True)
class CheckHalfBuilt(Action):
    """Find out whether this incarnation was left half built; answered by ``HalfBuiltChecked``."""

    info: DomainInfo


@dataclass(frozen=True, slots=True)
class CheckReaper(Action):
    """Find out whether the process that reaps it is alive; answered by ``ReaperChecked``."""

    info: DomainInfo


@dataclass(frozen=True, slots=True)
class FindShutdownReason(Action):
    """Ask the toolstack why this incarnation ended; answered by ``ShutdownReasonFound``."""

    info: DomainInfo


@dataclass(frozen=True, slots=True)
class Relist(Action):
    """Make a new listing; those that began before this moment do not count any more."""


@dataclass(frozen=True, slots=True)
class Finish(Action):
    """The domain's part of the run has ended; ``suspended``: another tool has suspended it."""

    outcome: Outcome
    note: str = ""
    good: bool = True
    suspended: bool = False
