"""lamplighter-agent in a simulated guest: the agent's real decisions with simulated effects.

``guest/handshake`` decides as it does in a real guest. The agent reads and writes the embedded
store with the guest's rights; its one script takes a given time and reports progress; and the
guard, which never misses its deadline, ends the simulated machine. As in a real guest, an
acknowledgement is a transaction that may conflict with the kernel's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from lamplighter.embedded.guests.shutdown_node import REQUEST, clear_request
from lamplighter.errors import XenStoreError
from lamplighter.formats import agent_protocol
from lamplighter.guest import events, handshake
from lamplighter.guest.guard import REPORT_TIME
from lamplighter.xenstore.paths import AGENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.embedded.guests.behaviour import GuestProfile
    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.model.clock import Clock

#: The version that a simulated agent reports.
VERSION = "0-embedded"

#: How many times a script reports progress.
STEPS = 4


class System(Protocol):
    """The guest system that the agent runs in."""

    @property
    def shutting_down(self) -> str | None:
        """The program that shuts the system down: ``poweroff``, ``reboot``, or None."""

    def shut_down(self, request: str) -> None:
        """Begin the system's own shutdown: ``poweroff``, ``halt`` or ``reboot``."""

    def release(self) -> None:
        """Let the system's own shutdown continue."""

    def cut(self, request: str) -> None:
        """End the machine at once."""


class GuestAgent:
    """The agent of one incarnation."""

    def __init__(
        self,
        profile: GuestProfile,
        connect: Callable[[Callable[[str, bytes], None]], Session],
        clock: Clock,
        system: System,
    ) -> None:
        """``connect`` opens a session of the domain."""
        self._profile = profile
        self._clock = clock
        self._system = system
        self._session = connect(self._node_changed)
        self._changed: dict[bytes, None] = {}  # tokens of the watches that have fired
        self._events: deque[events.Event] = deque()
        self._woken = asyncio.Event()
        self._runs = False
        self._state = handshake.State(events.Settings(deadline=profile.deadline))
        self._force: tuple[str, float] | None = None
        self._script: tuple[events.Script, float] | None = None  # what is running, and since when
        self._steps = 0
        self._cuts_at = math.inf  # set once the guard has reported that it forces the end

    def system_stopping(self, request: str) -> bool:
        """Report that the system shuts down; True: ``System.release`` will be called."""
        if not self._runs:
            return False
        self._events.append(events.SystemStopping(self._clock.monotonic(), request))
        self._woken.set()
        return True

    @property
    def promised_until(self) -> float:
        """Until when the host has promised time, less the margin; infinite if it has not."""
        return self._state.limit

    async def run(self) -> None:
        """Do the agent's work until the task is cancelled."""
        self._runs = True
        self._session.watch(REQUEST, b"request")
        self._session.watch(f"{AGENT}/asked", b"request")
        self._session.watch(f"{AGENT}/answer", b"answer")
        self._report("version", agent_protocol.encode_version(VERSION))
        self._report("ready", agent_protocol.encode_ready(ready=True))
        while True:
            until = min(self._state.wake, self._next_step(), self._reports_end_at, self._cuts_at)
            pause = None if math.isinf(until) else max(0.0, until - self._clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()
            # What the host has written.
            now, changed = self._clock.monotonic(), tuple(self._changed)
            self._changed.clear()
            if b"request" in changed:
                note = agent_protocol.parse_deadline_note(self._read(f"{AGENT}/asked"))
                self._events.append(events.RequestSeen(now, self._read(REQUEST), note))
            if b"answer" in changed:
                answer = agent_protocol.parse_answer(self._read(f"{AGENT}/answer"))
                if answer is not None:
                    self._events.append(events.Answered(now, answer))
            # The guard: its report shortly before it ends the machine, and the end.
            if self._force is not None and now >= self._reports_end_at:
                forced = agent_protocol.Forced(self._force[0], "its shutdown did not end in time")
                self._report("forced", agent_protocol.encode_forced(forced))
                self._force = None
                self._cuts_at = now + REPORT_TIME
            if now >= self._cuts_at:
                self._system.cut(self._state.going)
            # The script's progress, and its end.
            if self._script is not None and now >= self._next_step():
                script, _ = self._script
                self._steps += 1
                progress = ("stopping the database", 100 * self._steps // STEPS)
                self._report("progress", agent_protocol.encode_progress(*progress))
                if self._steps == STEPS:
                    self._script = None
                    self._events.append(events.ScriptEnded(now, script.name))
            if now >= self._state.wake:
                self._events.append(events.Tick(now))
            while self._events:
                self._state, actions = handshake.step(self._state, self._events.popleft())
                for action in actions:
                    await self._act(action)

    # --- its events ---

    def _node_changed(self, _path: str, token: bytes) -> None:
        self._changed[token] = None
        self._woken.set()

    def _next_step(self) -> float:
        if self._script is None:
            return math.inf
        return self._script[1] + self._profile.script * (self._steps + 1) / STEPS

    @property
    def _reports_end_at(self) -> float:
        return self._force[1] - REPORT_TIME if self._force is not None else math.inf

    # --- its actions ---

    async def _act(self, action: events.Action) -> None:
        now = self._clock.monotonic()
        match action:
            case events.Acknowledge(request):
                cleared = await clear_request(self._session, self._clock, (request.encode(),))
                ours = cleared is not None
                self._events.append(events.Acknowledged(self._clock.monotonic(), ours))
            case events.CheckKernel():
                self._events.append(events.KernelChecked(now, self._system.shutting_down))
            case events.FindScripts():
                found = (events.Script("10-script", 60.0),) if self._profile.script else ()
                self._events.append(events.ScriptsFound(now, found))
            case events.Run(script):
                self._script, self._steps = (script, now), 0
                if self._profile.more:
                    seconds = round(self._profile.more)
                    more = agent_protocol.TimeRequest("1", seconds, "it has much to write")
                    self._report("more", agent_protocol.encode_more(more))
            case events.Kill(script):
                self._script = None
                self._events.append(events.ScriptEnded(now, script.name, "killed"))
            case events.ReportProgress(text, percent):
                self._report("progress", agent_protocol.encode_progress(text, percent))
            case events.Release():
                self._system.release()
            case events.ShutDown(request):
                self._system.shut_down(request)
            case events.Arm(request, at):
                # Once the guard has reported that it forces the end, nothing stops it.
                if math.isinf(self._cuts_at):
                    self._force = (request, at)
            case events.Record():
                pass  # a simulated guest keeps no log

    # --- the store ---

    def _read(self, path: str) -> bytes:
        try:
            return self._session.read(path)
        except XenStoreError:
            return b""

    def _report(self, name: str, value: bytes) -> None:
        with contextlib.suppress(XenStoreError):
            self._session.write(f"{AGENT}/{name}", value)
