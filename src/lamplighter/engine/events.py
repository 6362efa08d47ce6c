"""What happens to one domain, and what is to be done about it.

The ladder (a stop) and the ascent (a start) are state machines of one shape:
``step(state, event) -> (state, actions)``. Time reaches them only as the ``now`` of an event, in
host seconds; the state's ``wake`` says when a ``Tick`` is wanted at the latest.

Actions are carried out in their order, one after another, and each result comes back as an event
before anything else is told. A ``EnterPhase`` is on disk before the action behind it is begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from lamplighter.formats.agent_protocol import NOTHING_GIVEN

if TYPE_CHECKING:
    from lamplighter.formats import agent_protocol
    from lamplighter.model.domain import DomainInfo, Kind, ShutdownReason
    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.run import Outcome


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was seen or that ended, at ``now``."""

    now: float


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Listed(Event):
    """A listing holds the domain."""

    sighting: DomainInfo


@dataclass(frozen=True, slots=True)
class NotListed(Event):
    """A listing that worked does not hold the domain: gone, or between two incarnations."""


@dataclass(frozen=True, slots=True)
class ListingFailed(Event):
    """The toolstack could not be asked. It says nothing about the domain."""

    error: str


@dataclass(frozen=True, slots=True)
class KindFound(Event):
    """How this incarnation is virtualised."""

    domid: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class ShutdownNode(Event):
    """What stands in ``control/shutdown`` of this incarnation; None: it has gone with its nodes."""

    domid: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class PoweroffFeature(Event):
    """The kernel of this incarnation says whether it takes requests to power off.

    True: it does (``1``). False: it says that it does not (``0``). None: nothing yet.
    """

    domid: int
    supported: bool | None


@dataclass(frozen=True, slots=True)
class AgentReport(Event):
    """What an agent in this incarnation says; nothing comes of a guest that has none.

    ``given`` is what runs before have given it, as it stood in its nodes when this run read them
    for the first time.
    """

    domid: int
    words: agent_protocol.GuestWords
    given: agent_protocol.Given = NOTHING_GIVEN


@dataclass(frozen=True, slots=True)
class RequestWritten(Event):
    """The request was written, or the error says why it could not be."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class AnswerFailed(Event):
    """An answer to this incarnation's request for more time could not be written."""

    domid: int
    answer: agent_protocol.Answer


@dataclass(frozen=True, slots=True)
class RequestCleared(Event):
    """The request was taken back; ``taken`` when the guest had acknowledged it before that."""

    taken: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Pressed(Event):
    """The power button was pressed, or the error says why not."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class Destroyed(Event):
    """The call to destroy returned, or failed."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class Created(Event):
    """The call to create returned, or failed.

    ``domid`` is None where it failed, and where XenStore did not tell it: then a listing does.
    """

    domid: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class CreatorChecked(Event):
    """Whether something, though no run of ours, is creating the domain at this moment."""

    creating: bool


@dataclass(frozen=True, slots=True)
class HalfBuiltChecked(Event):
    """Whether an incarnation that has never run was left half made, so that it never will."""

    domid: int
    half_built: bool


@dataclass(frozen=True, slots=True)
class HeldMeanwhile(Event):
    """It must not be created any more, though the plan says so; ``why`` for a person."""

    why: str


@dataclass(frozen=True, slots=True)
class ShutdownReasonFound(Event):
    """What the toolstack's own record says about why a vanished incarnation ended."""

    reason: ShutdownReason | None


@dataclass(frozen=True, slots=True)
class ReaperChecked(Event):
    """Whether the process lives that takes this incarnation apart when it has shut down."""

    domid: int
    lives: bool


@dataclass(frozen=True, slots=True)
class Interrupted(Event):
    """Someone wants the run to end now; nothing new is begun."""

    why: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something the runner does."""


@dataclass(frozen=True, slots=True)
class EnterPhase(Action):
    """The domain is now in this phase; ``detail`` says why, for a person."""

    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WatchNodes(Action):
    """Listen to the XenStore nodes of this incarnation from now on."""

    domid: int


@dataclass(frozen=True, slots=True)
class RequestShutdown(Action):
    """Write ``poweroff`` into ``control/shutdown``; answered by ``RequestWritten``.

    An agent is told that the domain is destroyed at ``until``; infinite: it is not told.
    ``granted`` are the seconds that it was granted before, and that are in it.
    """

    domid: int
    until: float = inf
    granted: int = 0


@dataclass(frozen=True, slots=True)
class TellDeadline(Action):
    """Tell an agent alone what ``RequestShutdown`` tells it, beside a request that it has had.

    Nobody waits for it.
    """

    domid: int
    until: float
    granted: int = 0


@dataclass(frozen=True, slots=True)
class AnswerAgent(Action):
    """Answer a guest's request for more time; ``AnswerFailed`` comes if it could not be written.

    ``granted`` are all the seconds that the guest was granted until now.
    """

    domid: int
    answer: agent_protocol.Answer
    granted: int = 0


@dataclass(frozen=True, slots=True)
class ClearRequest(Action):
    """Take the request back if it still stands; answered by ``RequestCleared``."""

    domid: int


@dataclass(frozen=True, slots=True)
class PressPower(Action):
    """Press the ACPI power button; answered by ``Pressed``."""

    domid: int


@dataclass(frozen=True, slots=True)
class Destroy(Action):
    """Take the incarnation away; answered by ``Destroyed``."""

    domid: int


@dataclass(frozen=True, slots=True)
class Create(Action):
    """Create the domain from its definition; answered by ``Created``."""


@dataclass(frozen=True, slots=True)
class CheckCreator(Action):
    """Find out whether something is creating the domain; answered by ``CreatorChecked``."""


@dataclass(frozen=True, slots=True)
class CheckHalfBuilt(Action):
    """Find out whether this incarnation was left half made; answered by ``HalfBuiltChecked``."""

    sighting: DomainInfo


@dataclass(frozen=True, slots=True)
class CheckReaper(Action):
    """Find out whether another process reaps this incarnation; answered by ``ReaperChecked``."""

    sighting: DomainInfo


@dataclass(frozen=True, slots=True)
class FindShutdownReason(Action):
    """Ask the toolstack why this incarnation ended; answered by ``ShutdownReasonFound``."""

    sighting: DomainInfo


@dataclass(frozen=True, slots=True)
class Relist(Action):
    """Make a new listing; what was listed before this moment does not count any more."""


@dataclass(frozen=True, slots=True)
class Finish(Action):
    """The domain's part of the run has ended."""

    outcome: Outcome
    note: str = ""
    good: bool = True
