"""The guest's shutdown, decided: what was asked, whether it goes on, when it must have ended.

    control/shutdown speaks
      | the kernel takes the word (it nearly always wins): is the system shutting down?
      |   the host's note, a poweroff that the kernel has started, or init says so: going
      |   none of these: it was taken back, or a suspend; nothing happens
      | the word stands for the grace: acknowledge it in a transaction
          | ours: going, and the system's shutdown is the agent's to begin
          | somebody was faster: as above
          | the connection was lost: ours, if the note says that somebody took it
    going: the scripts run in order, the system's shutdown goes on; where the host has asked for it,
    the force is armed

A shutdown that the guest's own administrator begins runs the scripts, too, but nobody waits for it
outside and nobody will destroy the guest: it may take its time, until the host asks as well.

The kernel clears a request before anyone in user space can read it, so an empty node says only
that *something* was asked. A suspend looks the same, and to force the end of a guest that has just
been restored would be a power cut for nothing: without evidence nothing is armed.

What the agent took nobody else will begin. So what it has still to begin (``State.begins``) is kept
where a new agent finds it: one that was killed in the middle of the scripts would leave a guest
that goes nowhere until the guard ends it. A new agent that began the shutdown whenever it has seen
nobody do so would be no remedy: SysV's ``poweroff``, started in runlevel 0, ends the system there
and then, in the middle of its services' end.

A shutdown that cannot be begun is tried again and again: init may just be executing itself anew.

Defined answers: a second request is recorded and acknowledged, and a power-off that comes during a
reboot turns the force into a power-off; a request that is taken back before anybody took it is
forgotten; a word that is no request is left standing and recorded, once. ``suspend`` is the
kernel's own. Once the system shuts down nothing calls it off: what cannot be undone must end.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.formats.agent_protocol import REQUESTS, encode_deadline_note
from lamplighter.guest.events import (
    Acknowledge,
    Acknowledged,
    Action,
    Answered,
    Arm,
    CheckKernel,
    Ended,
    Event,
    FindScripts,
    Found,
    KernelChecked,
    Kill,
    NotBegun,
    Record,
    Release,
    ReportProgress,
    RequestSeen,
    Run,
    Script,
    Settings,
    ShutDown,
    SystemStopping,
)

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import DeadlineNote

#: When, in seconds after a word was taken, it is looked whether the system shuts down. Where PID 1
#: has crashed, the kernel's poweroff fails within milliseconds, and is the only sign there is.
CHECK_TIMES = (0.0, 0.003, 0.006, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 3.0, 10.0)

#: A shutdown that begins so soon after a word was cleared is what the word asked for.
FOLLOWS = 10.0

#: A script that was killed and has not ended so long after that hangs in the kernel.
UNKILLABLE = 15.0

#: So long after a shutdown could not be begun, or a request not be acknowledged, it is tried again.
AGAIN = 5.0

#: How long the guest has, in seconds, when neither its administrator nor the host says so.
UNTOLD = 150.0

#: The margin before the host's own force is never more than this part of what it allows.
MARGIN_PART = 0.25


class State(NamedTuple):
    """Where the guest's shutdown stands.

    ``request`` is the request seen in ``control/shutdown`` since ``since``. ``taken`` is when it
    was cleared. ``checks`` counts the looks since ``checks_since``; None where none is wanted.
    ``taking`` is a request that is being acknowledged here, or may have been, by this agent or one
    before it; ``took`` when it is known that it was.
    ``going`` is the shutdown under way; ``ours`` when it is still to be begun here. ``asked`` is
    when it was known that the host wants it; infinite before. ``limit`` is when the host would
    destroy the guest, less the margin; ``granted`` is the id of the host's answer that moved it
    last; ``noted`` its last note.
    ``waiting`` are the scripts to come, ``running`` the one at work until ``overdue``, ``killed``
    if it was out of time before. ``begun``: the system's shutdown has begun, as far as was seen;
    ``again`` is when it is to be begun once more.
    ``refused`` is why a request could not be acknowledged. ``nonsense`` and ``suspend``: it was
    recorded.
    """

    settings: Settings
    request: str = ""
    since: float = 0.0
    checks: int | None = None
    checks_since: float = 0.0
    taken: float = -inf
    taking: str = ""
    took: bool = False
    going: str = ""
    asked: float = inf
    ours: bool = False
    limit: float = inf
    granted: str = ""
    noted: DeadlineNote | None = None
    armed: Arm | None = None
    waiting: tuple[Script, ...] = ()
    running: Script | None = None
    overdue: float = inf
    killed: bool = False
    released: bool = False
    begun: bool = False
    again: float = inf
    refused: str = ""
    suspend: bool = False
    nonsense: bool = False

    @property
    def wake(self) -> float:
        """When a ``Tick`` is wanted at the latest; infinite while nothing is going on."""
        stands = self.since + self.settings.grace if self.request else inf
        look = self.checks_since + CHECK_TIMES[self.checks] if self.checks is not None else inf
        return min(stands, look, self.overdue, self.again)

    @property
    def begins(self) -> str:
        """The shutdown that nobody will begin if the agent does not; empty for none."""
        return self.going if self.ours or self.again < inf else ""

    @property
    def said(self) -> str:
        """The host's words that the deadline follows from, as far as it has said any."""
        note = encode_deadline_note(self.noted).decode() if self.noted is not None else ""
        return f"{note}/{self.granted}" if self.granted else note

    @property
    def deadline(self) -> float:
        """When the guest forces its own end; infinite for never, and while nobody has asked."""
        own = self.settings.deadline
        if inf in (self.asked, own):
            return inf
        if self.granted or (own is None and self.limit < inf):
            return self.limit
        return min(self.asked + (UNTOLD if own is None else own), self.limit)


Stepped = tuple[State, tuple[Action, ...]]


def step(state: State, event: Event) -> Stepped:
    """Take one event into account."""
    if isinstance(event, RequestSeen):
        return _request_seen(state, event)
    if isinstance(event, KernelChecked):
        return _kernel_checked(state, event)
    if isinstance(event, SystemStopping):
        return _system_stopping(state, event)
    if isinstance(event, Acknowledged):
        return _acknowledged(state, event)
    if isinstance(event, Found):
        return _next_script(state._replace(waiting=event.scripts), event.now)
    if isinstance(event, Ended):
        return _ended(state, event)
    if isinstance(event, NotBegun):
        told = f"the {state.going} could not be begun: {event.problem}"
        again = inf if state.begun else event.now + AGAIN
        return state._replace(again=again), (Record(told),)
    if isinstance(event, Answered):
        return _answered(state, event)
    return _tick(state, event.now)


# --- the request -------------------------------------------------------------------------------


def _request_seen(state: State, event: RequestSeen) -> Stepped:
    state, spoken = _word(state, event.value, event.now)
    state, noted = _note(state, event.asked, event.now)
    state, resumed = _resume(state, event)
    if event.asked is None or event.value:
        return state, spoken + noted + resumed
    # The host says what it asked, and the word has been taken: no more is needed.
    why = "the host asks and the kernel took it"
    state, gone = _go(state, event.asked.request, event.now, why, asked=True)
    return state, spoken + noted + resumed + gone


def _resume(state: State, event: RequestSeen) -> Stepped:
    """What was acknowledged here, and has not been begun, is begun here.

    Where it is not known whether it was: a request that is taken back goes with its note. So one
    that has gone and left its note was taken, and the kernel had left it standing for the grace.
    """
    word, took = state.taking, state.took or (event.asked is not None and not event.value)
    state = state._replace(taking="", took=False)
    if not word or not took:
        return state, ()
    why = f"the {word} was acknowledged here, and nobody has begun it"
    return _own(state, word, event.now, why)


def _note(state: State, asked: DeadlineNote | None, now: float) -> Stepped:
    """The host's note tells how much time there is, however the shutdown begins.

    One that was heard before tells nothing new, and nothing of a grant since then. Another one is
    of another request, which may leave less or more. What was granted is in it: the guest's own
    deadline, which a grant has lifted, does not come back in the middle of that time.
    """
    if asked is None and not state.going:
        return state._replace(limit=inf, granted="", noted=None), ()  # it was taken back
    if asked is None or asked == state.noted:
        return state, ()
    limit = now + asked.seconds - min(state.settings.margin, asked.seconds * MARGIN_PART)
    return _rearm(state._replace(noted=asked, limit=limit))


def _word(state: State, value: bytes, now: float) -> Stepped:
    word = value.decode("ascii", "replace")
    if word in REQUESTS:
        if state.request == word:
            return state, ()
        request = state._replace(request=word, since=now, checks=None, suspend=False, refused="")
        return request, (Record(f"the host asks for a {word}"),)
    if not value:
        return _emptied(state, now)
    state = state._replace(request="", checks=None)
    if word == "suspend":
        told = Record("the host asks for a suspend: the kernel's own")
        return state._replace(suspend=True), () if state.suspend else (told,)
    if state.nonsense:
        return state, ()
    told = Record(f"control/shutdown holds no request: {value[:40]!r} ({len(value)} bytes)")
    return state._replace(nonsense=True), (told,)


def _emptied(state: State, now: float) -> Stepped:
    """The node is empty. That is news of a request only where one was seen standing there.

    Otherwise it may be the kernel that was faster, or a migration, or a rewrite of nothing: the
    looks will tell.
    """
    stood, state = state.request, state._replace(request="", checks=0, checks_since=now)
    state = state._replace(suspend=False)
    if not stood:
        return state, ()
    told = Record(f"the {stood} was taken, or taken back")
    state = state._replace(taken=now)
    state, armed = _ask(state, now) if state.going else (state, ())
    return state, (told, *armed)


def _kernel_checked(state: State, event: KernelChecked) -> Stepped:
    if state.checks is None:
        return state, ()
    if event.request is not None:
        why = f"the kernel has begun a {event.request}"
        taken = state._replace(taking="", took=False, begun=True, again=inf)
        return _go(taken, event.request, event.now, why, asked=True)
    more = state.checks + 1 < len(CHECK_TIMES)
    return state._replace(checks=state.checks + 1 if more else None), ()


def _system_stopping(state: State, event: SystemStopping) -> Stepped:
    asked = event.now < state.taken + FOLLOWS
    why = f"the system is on its way to {event.request}"
    state = state._replace(taking="", took=False, begun=True, again=inf)
    if not state.going:
        return _go(state, event.request, event.now, why, asked=asked)
    if state.released:
        return state, (Release(),)
    return state._replace(ours=False), ()


def _acknowledged(state: State, event: Acknowledged) -> Stepped:
    if event.problem:
        # It still stands, so it is tried again; that is told once.
        told = f"the {state.request} cannot be acknowledged: {event.problem}"
        since = event.now + AGAIN
        again = state._replace(taking="", since=since, refused=event.problem)
        return again, () if event.problem == state.refused else (Record(told),)
    word, taking = state.request, state.taking if event.ours is None else ""
    state = state._replace(request="", taking=taking)
    if not event.ours:
        return _emptied(state, event.now)
    return _own(state, word, event.now, f"acknowledged the {word}: the kernel did not")


def _own(state: State, word: str, now: float, why: str) -> Stepped:
    """The request is the agent's to begin, unless somebody else has begun a shutdown before."""
    ours = state.ours or not state.going
    state, actions = _go(state, word, now, "", asked=True)
    return state._replace(ours=ours), (Record(why), *actions)


# --- going -------------------------------------------------------------------------------------


def _go(state: State, request: str, now: float, why: str, *, asked: bool) -> Stepped:
    """A shutdown is under way; what is going already goes on, and may only become a power-off."""
    if not state.going:
        state = state._replace(going=request)
        told = (Record(f"{request}: {why}"),) if why else ()
        begin: tuple[Action, ...] = (*told, ReportProgress(f"{request} has begun"), FindScripts())
    else:
        begin = ()
        if state.going == "reboot" and request != "reboot":
            state = state._replace(going=request)
    state, armed = _ask(state, now) if asked else (state, ())
    return state, armed + begin


def _ask(state: State, now: float) -> Stepped:
    """The host wants this shutdown: from now on its time is counted."""
    return _rearm(state._replace(asked=min(state.asked, now), checks=None))


def _rearm(state: State) -> Stepped:
    """The force is moved when it has to come at another moment, or because of other words."""
    arm = Arm(state.going, state.deadline, state.said)
    never = state.armed is None and arm.at == inf
    if not state.going or never or arm == state.armed:
        return state, ()
    return state._replace(armed=arm), (arm,)


def _next_script(state: State, now: float) -> Stepped:
    if not state.waiting:
        return _scripts_done(state._replace(running=None, overdue=inf))
    script, *rest = state.waiting
    state = state._replace(waiting=tuple(rest), running=script, overdue=now + script.deadline)
    state = state._replace(killed=False)
    return state, (ReportProgress(f"running {script.name}"), Run(script, state.going))


def _overdue(state: State, script: Script, now: float) -> Stepped:
    """A script is out of time; one that cannot even be killed is left behind."""
    if state.killed:
        told = f"{script.name}: it does not end, the shutdown goes on without it"
        state, actions = _next_script(state, now)
        return state, (Record(told), *actions)
    told = f"{script.name}: not done after {script.deadline:g} s, it is ended"
    state = state._replace(killed=True, overdue=now + UNKILLABLE)
    return state, (Record(told), Kill(script))


def _ended(state: State, event: Ended) -> Stepped:
    if state.running is None or state.running.name != event.name:
        return state, ()
    how = event.problem or "done"
    state, actions = _next_script(state, event.now)
    return state, (Record(f"{event.name}: {how}"), *actions)


def _scripts_done(state: State) -> Stepped:
    begin = (ShutDown(state.begins),) if state.ours else ()
    state = state._replace(released=True, ours=False)
    return state, (ReportProgress("the system is stopping its services"), Release(), *begin)


def _answered(state: State, event: Answered) -> Stepped:
    answer = event.answer
    if answer.left is None:
        return state, (Record(f"more time was refused: {answer.why}"),)
    margin = min(state.settings.margin, answer.left * MARGIN_PART)
    granted = state._replace(limit=event.now + answer.left - margin, granted=answer.id)
    granted, armed = _rearm(granted)
    return granted, (Record(f"more time was granted: {answer.left} s are left"), *armed)


def _tick(state: State, now: float) -> Stepped:
    if state.running is not None and now >= state.overdue:
        return _overdue(state, state.running, now)
    if state.request and now >= state.since + state.settings.grace:
        acknowledging = state._replace(since=inf, taking=state.request)
        return acknowledging, (Acknowledge(state.request),)
    if state.checks is not None and now >= state.checks_since + CHECK_TIMES[state.checks]:
        return state, (CheckKernel(),)
    if now >= state.again:
        return state._replace(again=inf), (ShutDown(state.going),)
    return state, ()
