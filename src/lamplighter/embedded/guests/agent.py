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

from lamplighter.errors import StoreConflict, XenStoreError
from lamplighter.formats import agent_protocol
from lamplighter.guest import events, handshake
from lamplighter.guest.guard import REPORT_TIME
from lamplighter.xenstore.paths import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.embedded.guests.behaviour import GuestProfile
    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.model.clock import Clock

REQUEST = "control/shutdown"

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
        self._session = connect(self._stir)
        self._stirred: dict[bytes, None] = {}
        self._events: deque[events.Event] = deque()
        self._come = asyncio.Event()
        self._runs = False
        self._state = handshake.State(events.Settings(deadline=profile.deadline))
        self._force: tuple[str, float] | None = None
        self._script: tuple[events.Script, float] | None = None  # what is running, and since when
        self._steps = 0
        self._cuts_at = math.inf  # set once the guard has reported that it forces the end

    def tell(self, request: str) -> bool:
        """Report that the system shuts down; True: ``System.release`` will be called."""
        if not self._runs:
            return False
        self._events.append(events.SystemStopping(self._clock.monotonic(), request))
        self._come.set()
        return True

    @property
    def relies_on(self) -> float:
        """Until when the host has promised time, less the margin; infinite if it has not."""
        return self._state.limit

    async def run(self) -> None:
        """Do the agent's work until the task is cancelled."""
        self._runs = True
        for path, token in ((REQUEST, b"request"), (f"{WORDS}/asked", b"request")):
            self._session.watch(path, token)
        self._session.watch(f"{WORDS}/answer", b"answer")
        self._say("version", agent_protocol.encode_version(VERSION))
        self._say("ready", agent_protocol.encode_ready(ready=True))
        while True:
            await self._wait()
            self._take_stirred()
            self._keep_time()
            while self._events:
                self._state, actions = handshake.step(self._state, self._events.popleft())
                for action in actions:
                    await self._act(action)

    # --- its events ---

    def _stir(self, _path: str, token: bytes) -> None:
        self._stirred[token] = None
        self._come.set()

    def _take_stirred(self) -> None:
        now, stirred = self._clock.monotonic(), tuple(self._stirred)
        self._stirred.clear()
        if b"request" in stirred:
            asked = agent_protocol.parse_deadline_note(self._read(f"{WORDS}/asked"))
            self._events.append(events.RequestSeen(now, self._read(REQUEST), asked))
        if b"answer" in stirred:
            answer = agent_protocol.parse_answer(self._read(f"{WORDS}/answer"))
            if answer is not None:
                self._events.append(events.Answered(now, answer))

    async def _wait(self) -> None:
        until = min(self._state.wake, self._next_step(), self._speaks_last_at, self._cuts_at)
        pause = None if math.isinf(until) else max(0.0, until - self._clock.monotonic())
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(pause):
                await self._come.wait()
        self._come.clear()

    def _keep_time(self) -> None:
        now = self._clock.monotonic()
        if self._force is not None and now >= self._speaks_last_at:
            self._last_word(now, self._force[0])
        if now >= self._cuts_at:
            self._system.cut(self._state.going)
        if self._script is not None and now >= self._next_step():
            self._script_goes_on(now)
        if now >= self._state.wake:
            self._events.append(events.Tick(now))

    # --- its actions ---

    async def _act(self, action: events.Action) -> None:
        now = self._clock.monotonic()
        if isinstance(action, events.Acknowledge):
            ours = await self._acknowledge(action.request.encode())
            self._events.append(events.Acknowledged(self._clock.monotonic(), ours))
        elif isinstance(action, events.CheckKernel):
            self._events.append(events.KernelChecked(now, self._system.shutting_down))
        elif isinstance(action, events.FindScripts):
            found = (events.Script("10-script", 60.0),) if self._profile.script else ()
            self._events.append(events.ScriptsFound(now, found))
        elif isinstance(action, events.Run):
            self._script, self._steps = (action.script, now), 0
            if self._profile.more:
                more = agent_protocol.TimeRequest(
                    "1", round(self._profile.more), "it has much to write"
                )
                self._say("more", agent_protocol.encode_more(more))
        elif isinstance(action, events.Kill):
            self._script = None
            self._events.append(events.ScriptEnded(now, action.script.name, "killed"))
        else:
            self._act_on_the_system(action)

    def _act_on_the_system(self, action: events.Action) -> None:
        if isinstance(action, events.ReportProgress):
            self._say("progress", agent_protocol.encode_progress(action.text, action.percent))
        elif isinstance(action, events.Release):
            self._system.release()
        elif isinstance(action, events.ShutDown):
            self._system.shut_down(action.request)
        elif isinstance(action, events.Arm) and math.isinf(self._cuts_at):
            self._force = (action.request, action.at)

    async def _acknowledge(self, word: bytes) -> bool:
        """Clear the request if it is still this one; the kernel may do so at the same time."""
        while True:
            tx = self._session.start()
            try:
                stands = self._session.read(REQUEST, tx) == word
                await self._clock.sleep(0)
                if stands:
                    self._session.write(REQUEST, b"", tx)
                    await self._clock.sleep(0)
                self._session.end(tx, commit=stands)
            except StoreConflict:
                continue
            except XenStoreError:
                self._session.end(tx, commit=False)
                return False
            return stands

    # --- its script and its guard ---

    def _next_step(self) -> float:
        if self._script is None:
            return math.inf
        return self._script[1] + self._profile.script * (self._steps + 1) / STEPS

    def _script_goes_on(self, now: float) -> None:
        assert self._script is not None
        script, _ = self._script
        self._steps += 1
        percent = 100 * self._steps // STEPS
        self._say("progress", agent_protocol.encode_progress("stopping the database", percent))
        if self._steps == STEPS:
            self._script = None
            self._events.append(events.ScriptEnded(now, script.name))

    @property
    def _speaks_last_at(self) -> float:
        return self._force[1] - REPORT_TIME if self._force is not None else math.inf

    def _last_word(self, now: float, request: str) -> None:
        forced = agent_protocol.Forced(request, "its shutdown did not end in time")
        self._say("forced", agent_protocol.encode_forced(forced))
        self._force = None
        self._cuts_at = now + REPORT_TIME

    # --- the store ---

    def _read(self, path: str) -> bytes:
        try:
            return self._session.read(path)
        except XenStoreError:
            return b""

    def _say(self, name: str, value: bytes) -> None:
        with contextlib.suppress(XenStoreError):
            self._session.write(f"{WORDS}/{name}", value)
