"""The state machine of the guest's shutdown: the request, the shutdown under way, the deadline.

    control/shutdown changes
      | the kernel takes the request (it nearly always wins): is the system shutting down?
      |   the host's note, a poweroff that the kernel has started, or init says so: going
      |   none of these: the request was taken back, or is a suspend; nothing happens
      | the request stays for the grace period: acknowledge it in a transaction
          | acknowledged here: going, and the agent has to begin the system's shutdown
          | somebody else was faster: as above
          | the connection was lost: acknowledged here, if the note shows that somebody took it
    going: the scripts run in order, then the system's shutdown goes on; if the host has asked for
    it, the force is armed

A shutdown that the guest's own administrator begins runs the scripts, too. But nobody outside waits
for it, and nobody will destroy the guest, so it has no deadline until the host asks as well.

The kernel clears a request before anyone in user space can read it, so an empty node shows only
that *something* was asked. A suspend looks the same, and forcing the end of a guest that has just
been restored would be a power cut for nothing: without evidence of a shutdown nothing is armed.

If the agent took a request, nobody else begins the shutdown. So what it has yet to begin
(``State.begins``) is kept where a new agent finds it: otherwise an agent killed in the middle of
the scripts would leave a guest that does nothing until the guard ends it. A new agent must not
begin a shutdown just because it has seen nobody do so: SysV's ``poweroff``, started in runlevel 0,
ends the system at once, while its services are being stopped.

A shutdown that cannot be begun is tried again and again: init may just be re-executing itself.

Defined behaviour: a second request is recorded and acknowledged, and a power-off during a reboot
turns the force into a power-off; a request that is taken back before anybody took it is forgotten;
a value that is not a request is left in place and recorded once. ``suspend`` is left to the kernel.
A shutdown that is going is never called off: what cannot be undone must end.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.formats.agent_protocol import REQUESTS, encode_deadline_note
from lamplighter.guest import events

if TYPE_CHECKING:
    from lamplighter.formats.agent_protocol import DeadlineNote

#: Seconds after a request was taken at which to check whether the system is shutting down. If PID 1
#: has crashed, the kernel's poweroff fails within milliseconds, and is the only sign there is.
CHECK_TIMES = (0.0, 0.003, 0.006, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 3.0, 10.0)

#: A shutdown that begins within so many seconds of a cleared request is what the request asked for.
ATTRIBUTION_WINDOW = 10.0

#: A script that has not ended so many seconds after it was killed hangs in the kernel.
UNKILLABLE = 15.0

#: Seconds until the agent tries again to begin a shutdown or to acknowledge a request.
RETRY_PAUSE = 5.0

#: Seconds from the request to the forced end if neither the administrator nor the host sets them.
DEFAULT_DEADLINE = 150.0

#: The margin before the host's own force is at most this fraction of the time that it allows.
MARGIN_PART = 0.25


class State(NamedTuple):
    """The state of the guest's shutdown; times in seconds of the agent's clock.

    ``request`` is the request that has been in ``control/shutdown`` since ``since``. ``taken`` is
    when it was cleared. ``checks`` counts the checks since ``checks_since``; None if none is due.
    ``acknowledging`` is a request that is being acknowledged here, or may have been, by this agent
    or an earlier one; ``acknowledged`` if it is known to have been. ``going`` is the shutdown under
    way; ``must_begin`` if the agent has yet to begin it. ``asked`` is when it became known that the
    host wants it; infinite before. ``limit`` is when the host would destroy the guest, less the
    margin; ``granted`` is the id of the host's answer that last moved it; ``noted`` is the host's
    last note. ``waiting`` are the scripts to come, ``running`` the one that may run until
    ``overdue``; ``killed`` if it has been out of time already. ``begun``: the system's shutdown was
    seen to begin; ``retry_at`` is when to try again to begin it. ``refused`` is why a request could
    not be acknowledged, None if it could. ``nonsense`` and ``suspend``: that this was in the node
    has been recorded.
    """

    settings: events.Settings
    request: str = ""
    since: float = 0.0
    checks: int | None = None
    checks_since: float = 0.0
    taken: float = -inf
    acknowledging: str = ""
    acknowledged: bool = False
    going: str = ""
    asked: float = inf
    must_begin: bool = False
    limit: float = inf
    granted: str = ""
    noted: DeadlineNote | None = None
    armed: events.Arm | None = None
    waiting: tuple[events.Script, ...] = ()
    running: events.Script | None = None
    overdue: float = inf
    killed: bool = False
    released: bool = False
    begun: bool = False
    retry_at: float = inf
    refused: str | None = None
    suspend: bool = False
    nonsense: bool = False

    @property
    def wake(self) -> float:
        """When a ``Tick`` is due; infinite while there is nothing to wait for."""
        stands = self.since + self.settings.grace if self.request else inf
        check = self.checks_since + CHECK_TIMES[self.checks] if self.checks is not None else inf
        return min(stands, check, self.overdue, self.retry_at)

    @property
    def begins(self) -> str:
        """The shutdown that nobody begins if the agent does not; empty for none."""
        return self.going if self.must_begin or self.retry_at < inf else ""

    @property
    def basis(self) -> str:
        """What the deadline follows from: the host's note and last grant, each if any."""
        note = encode_deadline_note(self.noted).decode() if self.noted is not None else ""
        return f"{note}/{self.granted}" if self.granted else note

    @property
    def deadline(self) -> float:
        """When the guest forces its own end; infinite for never, and until the host has asked."""
        own = self.settings.deadline
        if inf in (self.asked, own):
            return inf
        if self.granted or (own is None and self.limit < inf):
            return self.limit
        return min(self.asked + (DEFAULT_DEADLINE if own is None else own), self.limit)


Stepped = tuple[State, tuple[events.Action, ...]]


def step(state: State, event: events.Event) -> Stepped:
    """Return the state after an event, and the actions to carry out."""
    now = event.now
    if isinstance(event, events.RequestSeen):
        return _request_seen(state, event)
    if isinstance(event, events.KernelChecked):
        if state.checks is None:
            return state, ()
        if event.request is not None:
            reason = f"the kernel has begun a {event.request}"
            return _go(_begun_elsewhere(state), event.request, now, reason, asked=True)
        more = state.checks + 1 < len(CHECK_TIMES)
        return state._replace(checks=state.checks + 1 if more else None), ()
    if isinstance(event, events.SystemStopping):
        asked = now < state.taken + ATTRIBUTION_WINDOW
        state = _begun_elsewhere(state)
        if not state.going:
            reason = f"the system is on its way to {event.request}"
            return _go(state, event.request, now, reason, asked=asked)
        if state.released:
            return state, (events.Release(),)
        return state._replace(must_begin=False), ()
    if isinstance(event, events.Acknowledged):
        return _acknowledged(state, event)
    if isinstance(event, events.ScriptsFound):
        return _next_script(state._replace(waiting=event.scripts), now)
    if isinstance(event, events.ScriptEnded):
        if state.running is None or state.running.name != event.name:
            return state, ()
        state, actions = _next_script(state, now)
        end = "done" if event.problem is None else event.problem
        return state, (events.Record(f"{event.name}: {end}"), *actions)
    if isinstance(event, events.NotBegun):
        text = f"the {state.going} could not be begun: {event.problem}"
        retry_at = inf if state.begun else now + RETRY_PAUSE
        return state._replace(retry_at=retry_at), (events.Record(text),)
    if isinstance(event, events.Answered):
        answer = event.answer
        if answer.left is None:
            return state, (events.Record(f"more time was refused: {answer.why}"),)
        margin = min(state.settings.margin, answer.left * MARGIN_PART)
        state = state._replace(limit=now + answer.left - margin, granted=answer.id)
        state, armed = _rearm(state)
        return state, (events.Record(f"more time was granted: {answer.left} s are left"), *armed)
    return _tick(state, now)


# --- the request -------------------------------------------------------------------------------


def _request_seen(state: State, event: events.RequestSeen) -> Stepped:
    now, asked = event.now, event.asked
    text = event.value.decode("ascii", "replace")
    actions: tuple[events.Action, ...] = ()
    if text in REQUESTS:
        if state.request != text:
            state = state._replace(request=text, since=now, checks=None)
            state = state._replace(suspend=False, refused=None)
            actions = (events.Record(f"the host asks for a {text}"),)
    elif not event.value:
        state, actions = _emptied(state, now)
    else:
        state = state._replace(request="", checks=None)
        if text == "suspend":
            if not state.suspend:
                actions = (events.Record("the host asks for a suspend: the kernel's own"),)
            state = state._replace(suspend=True)
        elif not state.nonsense:
            found = f"{event.value[:40]!r} ({len(event.value)} bytes)"
            actions = (events.Record(f"control/shutdown holds no request: {found}"),)
            state = state._replace(nonsense=True)
    # The host's note says how much time there is, however the shutdown begins. A note that was
    # seen before says nothing new, and nothing of a grant since then. A new one belongs to another
    # request, which may leave less time or more. It includes what was granted, so ``granted``
    # stays: the guest's own deadline, which a grant has lifted, must not come back in the middle of
    # that time.
    if asked is None and not state.going:
        state = state._replace(limit=inf, granted="", noted=None)  # it was taken back
    elif asked is not None and asked != state.noted:
        margin = min(state.settings.margin, asked.seconds * MARGIN_PART)
        state, armed = _rearm(state._replace(noted=asked, limit=now + asked.seconds - margin))
        actions += armed
    # Begin a shutdown that was acknowledged here and has not been begun. If it is not known whether
    # it was acknowledged, the note decides: a request that is taken back goes with its note. So one
    # that is gone while its note remains was taken, and not by the kernel, which had left it in
    # place for the grace period.
    was_taken = asked is not None and not event.value
    request, acknowledged = state.acknowledging, state.acknowledged or was_taken
    state = state._replace(acknowledging="", acknowledged=False)
    if request and acknowledged:
        reason = f"the {request} was acknowledged here, and nobody has begun it"
        state, begun = _go_and_begin(state, request, now, reason)
        actions += begun
    if asked is not None and was_taken:
        # The host's note is there and the request has been taken: that is evidence enough.
        reason = "the host asks and the kernel took it"
        state, gone = _go(state, asked.request, now, reason, asked=True)
        actions += gone
    return state, actions


def _emptied(state: State, now: float) -> Stepped:
    """Handle an empty node: a request was taken, or taken back, only if one was seen there.

    Otherwise the kernel may have been faster, or it was a migration, or an empty value was written
    again: the checks will show it.
    """
    stood, state = state.request, state._replace(request="", checks=0, checks_since=now)
    state = state._replace(suspend=False)
    if not stood:
        return state, ()
    record = events.Record(f"the {stood} was taken, or taken back")
    state = state._replace(taken=now)
    state, armed = _ask(state, now) if state.going else (state, ())
    return state, (record, *armed)


def _acknowledged(state: State, event: events.Acknowledged) -> Stepped:
    if event.problem is not None:
        # The request is still there, so this is tried again, and recorded once.
        record = events.Record(f"the {state.request} cannot be acknowledged: {event.problem}")
        actions = () if event.problem == state.refused else (record,)
        since = event.now + RETRY_PAUSE
        return state._replace(acknowledging="", since=since, refused=event.problem), actions
    request, acknowledging = state.request, state.acknowledging if event.ours is None else ""
    state = state._replace(request="", acknowledging=acknowledging)
    if not event.ours:
        return _emptied(state, event.now)
    reason = f"acknowledged the {request}: the kernel did not"
    return _go_and_begin(state, request, event.now, reason)


def _go_and_begin(state: State, request: str, now: float, reason: str) -> Stepped:
    """Enter a shutdown that the agent has to begin, unless somebody else has begun one before."""
    must_begin = state.must_begin or not state.going
    state, actions = _go(state, request, now, "", asked=True)
    return state._replace(must_begin=must_begin), (events.Record(reason), *actions)


def _begun_elsewhere(state: State) -> State:
    """Note that the system's shutdown was seen to begin, so that the agent need not begin it."""
    return state._replace(acknowledging="", acknowledged=False, begun=True, retry_at=inf)


# --- going -------------------------------------------------------------------------------------


def _go(state: State, request: str, now: float, reason: str, *, asked: bool) -> Stepped:
    """Enter a shutdown; one that is going already continues and may only become a power-off."""
    if not state.going:
        state = state._replace(going=request)
        record = (events.Record(f"{request}: {reason}"),) if reason else ()
        begin: tuple[events.Action, ...] = (
            *record,
            events.ReportProgress(f"{request} has begun"),
            events.FindScripts(),
        )
    else:
        begin = ()
        if state.going == "reboot" and request != "reboot":
            state = state._replace(going=request)
    state, armed = _ask(state, now) if asked else (state, ())
    return state, armed + begin


def _ask(state: State, now: float) -> Stepped:
    """Note that the host wants this shutdown: its time counts from now on."""
    return _rearm(state._replace(asked=min(state.asked, now), checks=None))


def _rearm(state: State) -> Stepped:
    """events.Arm the force again if its time, or what that follows from, has changed."""
    arm = events.Arm(state.going, state.deadline, state.basis)
    never = state.armed is None and arm.at == inf
    if not state.going or never or arm == state.armed:
        return state, ()
    return state._replace(armed=arm), (arm,)


def _next_script(state: State, now: float) -> Stepped:
    """Start the next script; after the last one, let the system's shutdown go on, or begin it."""
    if state.waiting:
        script, *rest = state.waiting
        state = state._replace(waiting=tuple(rest), running=script, overdue=now + script.deadline)
        state = state._replace(killed=False)
        return state, (
            events.ReportProgress(f"running {script.name}"),
            events.Run(script, state.going),
        )
    begin = (events.ShutDown(state.begins),) if state.must_begin else ()
    state = state._replace(running=None, overdue=inf, released=True, must_begin=False)
    return state, (
        events.ReportProgress("the system is stopping its services"),
        events.Release(),
        *begin,
    )


def _tick(state: State, now: float) -> Stepped:
    script = state.running
    if script is not None and now >= state.overdue:
        if state.killed:
            text = f"{script.name}: it does not end, the shutdown goes on without it"
            state, actions = _next_script(state, now)
            return state, (events.Record(text), *actions)
        text = f"{script.name}: not done after {script.deadline:g} s, it is ended"
        state = state._replace(killed=True, overdue=now + UNKILLABLE)
        return state, (events.Record(text), events.Kill(script))
    if state.request and now >= state.since + state.settings.grace:
        acknowledging = state._replace(since=inf, acknowledging=state.request)
        return acknowledging, (events.Acknowledge(state.request),)
    if state.checks is not None and now >= state.checks_since + CHECK_TIMES[state.checks]:
        return state, (events.CheckKernel(),)
    if now >= state.retry_at:
        return state._replace(retry_at=inf), (events.ShutDown(state.going),)
    return state, ()
