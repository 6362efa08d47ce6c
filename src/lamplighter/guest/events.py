"""What the agent hears, and what it does about it.

``handshake.step(state, event) -> (state, actions)`` decides; the daemon listens and acts. Moments
are seconds on one clock that never goes back; the state's ``wake`` says when a ``Tick`` is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import Answer, DeadlineNote


class Settings(NamedTuple):
    """What the guest's administrator decides.

    ``deadline``: so many seconds after the host asked the guest forces its own end, whatever the
    host allows; infinite means never. None: the host decides (``handshake.UNTOLD`` where it says
    nothing). ``grace``: so long the kernel may leave a request standing before the agent
    acknowledges it. ``margin``: so long before the host would destroy the guest its own force
    comes at the latest.
    """

    deadline: float | None = None
    grace: float = 2.0
    margin: float = 10.0


class Script(NamedTuple):
    """One of the administrator's scripts; it is killed after ``deadline`` seconds."""

    name: str
    deadline: float


# --- what is heard -----------------------------------------------------------------------------


class RequestSeen(NamedTuple):
    """What stands in ``control/shutdown`` and in the host's ``asked``, after one of them stirred.

    ``value`` is empty where the node is, and where there is none.
    """

    now: float
    value: bytes
    asked: DeadlineNote | None = None


class KernelChecked(NamedTuple):
    """Whether the kernel has begun the system's shutdown, as far as that can be seen: which one."""

    now: float
    request: str | None


class SystemStopping(NamedTuple):
    """The system itself is shutting down, for whatever reason: its init says so."""

    now: float
    request: str


class Acknowledged(NamedTuple):
    """The request was cleared by us; or not, because somebody else had been faster.

    None: nobody knows, the connection was lost in the middle of it; or, with a ``problem``, it was
    refused, and the request still stands.
    """

    now: float
    ours: bool | None
    problem: str = ""


class Found(NamedTuple):
    """The administrator's scripts, in their order."""

    now: float
    scripts: tuple[Script, ...]


class Ended(NamedTuple):
    """A script has ended, or could not be started; ``problem`` is empty when it did well."""

    now: float
    name: str
    problem: str = ""


class NotBegun(NamedTuple):
    """What we started to begin the system's shutdown has failed."""

    now: float
    problem: str


class Answered(NamedTuple):
    """The host's answer to a request for more time."""

    now: float
    answer: Answer


class Tick(NamedTuple):
    """Time passed."""

    now: float


Event = Union[
    RequestSeen, KernelChecked, SystemStopping, Acknowledged, Found, Ended, NotBegun, Answered, Tick
]


# --- what is done ------------------------------------------------------------------------------


class Record(NamedTuple):
    """Write a line into the log."""

    text: str


class CheckKernel(NamedTuple):
    """Look whether the kernel has begun the system's shutdown; answered by ``KernelChecked``."""


class Acknowledge(NamedTuple):
    """Clear the request if this is what stands there; answered by ``Acknowledged``."""

    request: str


class FindScripts(NamedTuple):
    """List the administrator's scripts; answered by ``Found``."""


class Run(NamedTuple):
    """Start a script for this request; answered by ``Ended``."""

    script: Script
    request: str


class Kill(NamedTuple):
    """End a script that is out of time; answered by ``Ended`` all the same."""

    script: Script


class ReportProgress(NamedTuple):
    """Tell the host how far the shutdown has come."""

    text: str
    percent: int | None = None


class Release(NamedTuple):
    """The scripts have ended: let the system's shutdown go on."""


class ShutDown(NamedTuple):
    """Start the system's own shutdown, because the kernel does not; ``NotBegun`` when it fails."""

    request: str


class Arm(NamedTuple):
    """At this moment force the guest's end, whatever becomes of the agent; it replaces the last.

    ``said`` are the host's words that the moment follows from: its note, and after a slash the id
    of its last grant. A moment that follows from the same words is the same, whoever counts it.
    """

    request: str
    at: float
    said: str = ""


Action = Union[
    Record, CheckKernel, Acknowledge, FindScripts, Run, Kill, ReportProgress, Release, ShutDown, Arm
]
