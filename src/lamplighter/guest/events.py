"""The events and actions of the agent's state machine, ``handshake``.

``handshake.step(state, event) -> (state, actions)`` decides; the daemon collects the events and
carries out the actions. Times are seconds on one monotonic clock; the state's ``wake`` says when a
``Tick`` is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import Answer, DeadlineNote


class Settings(NamedTuple):
    """The administrator's settings for the handshake, in seconds.

    ``deadline``: how long after the host's request the guest forces its own end, even if the host
    would wait longer; infinite means never. None: the host decides (``handshake.DEFAULT_DEADLINE``
    if it does not). ``grace``: how long the kernel may leave a request in place before the agent
    acknowledges it. ``margin``: how long before the host would destroy the guest it forces its own
    end at the latest.
    """

    deadline: float | None = None
    grace: float = 2.0
    margin: float = 10.0


class Script(NamedTuple):
    """One of the administrator's scripts; it is terminated after ``deadline`` seconds."""

    name: str
    deadline: float


# --- events ------------------------------------------------------------------------------------


class RequestSeen(NamedTuple):
    """The contents of ``control/shutdown`` and of the host's ``asked``, after a watch fired.

    ``value`` is empty if the node is empty or missing.
    """

    now: float
    value: bytes
    asked: DeadlineNote | None = None


class KernelChecked(NamedTuple):
    """The shutdown that the kernel was seen to have begun; ``request`` is None if it was not."""

    now: float
    request: str | None


class SystemStopping(NamedTuple):
    """The system is shutting down, for whatever reason: its init reports it."""

    now: float
    request: str


class Acknowledged(NamedTuple):
    """Whether the agent cleared the request (``ours``), or somebody else had been faster.

    ``ours`` is None without a ``problem``: unknown, because the connection was lost in the middle.
    With a ``problem``: XenStore refused, and the request is still in the node.
    """

    now: float
    ours: bool | None
    problem: str | None = None


class ScriptsFound(NamedTuple):
    """The administrator's scripts, in the order in which they run."""

    now: float
    scripts: tuple[Script, ...]


class ScriptEnded(NamedTuple):
    """A script has ended or could not be started; ``problem`` is None if it succeeded."""

    now: float
    name: str
    problem: str | None = None


class NotBegun(NamedTuple):
    """The program that should begin the system's shutdown failed or could not be started."""

    now: float
    problem: str


class Answered(NamedTuple):
    """The host's answer to a request for more time."""

    now: float
    answer: Answer


class Tick(NamedTuple):
    """The state's ``wake`` has been reached."""

    now: float


Event = Union[
    RequestSeen,
    KernelChecked,
    SystemStopping,
    Acknowledged,
    ScriptsFound,
    ScriptEnded,
    NotBegun,
    Answered,
    Tick,
]


# --- actions -----------------------------------------------------------------------------------


class Record(NamedTuple):
    """Write a line to the log."""

    text: str


class CheckKernel(NamedTuple):
    """Check whether the kernel has begun the system's shutdown; answered by ``KernelChecked``."""


class Acknowledge(NamedTuple):
    """Clear ``control/shutdown`` if it holds this request; answered by ``Acknowledged``."""

    request: str


class FindScripts(NamedTuple):
    """List the administrator's scripts; answered by ``ScriptsFound``."""


class Run(NamedTuple):
    """Start a script for this request; answered by ``ScriptEnded``."""

    script: Script
    request: str


class Kill(NamedTuple):
    """Terminate a script that is out of time; ``ScriptEnded`` still follows."""

    script: Script


class ReportProgress(NamedTuple):
    """Report to the host how far the shutdown has come."""

    text: str
    percent: int | None = None


class Release(NamedTuple):
    """The scripts have ended: let the system's shutdown go on."""


class ShutDown(NamedTuple):
    """Start the system's own shutdown, because the kernel does not; ``NotBegun`` if that fails."""

    request: str


class Arm(NamedTuple):
    """Force the guest's end at ``at``, whatever becomes of the agent; replaces the previous one.

    ``basis`` identifies what that time follows from: the host's note and, after a slash, the id of
    its last grant. The same ``basis`` means the same time, no matter which agent computes it.
    """

    request: str
    at: float
    basis: str = ""


Action = Union[
    Record, CheckKernel, Acknowledge, FindScripts, Run, Kill, ReportProgress, Release, ShutDown, Arm
]
