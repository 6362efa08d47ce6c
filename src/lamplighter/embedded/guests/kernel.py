"""A simulated guest kernel, as seen through XenStore: Linux, well or badly behaved.

Once booted, Linux watches ``control/shutdown``, then writes ``1`` into ``control/feature-poweroff``
and similar nodes. When the watch fires, it reads the node in a transaction. A request that it knows
it clears in the same transaction, retrying after a conflict, and only then acts; an unknown request
it leaves alone. The watch fires once when it is set, so a request made before the kernel was up is
found, too. While user space shuts down, further requests are cleared and have no effect; during a
reboot nothing is read any more. (drivers/xen/manage.c)

A ``GuestKernel`` runs until its machine would stop, and returns the shutdown reason. It uses the
store through a session of its own domain, with that domain's rights and quotas. If an agent runs in
the guest (``agent``), init reports the shutdown to it and waits for its scripts, as the agent's
systemd unit does; a guest whose user space hangs reports nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from lamplighter.embedded.guests.agent import GuestAgent
from lamplighter.embedded.guests.behaviour import Behaviour
from lamplighter.embedded.guests.shutdown_node import REQUEST, clear_request
from lamplighter.errors import XenStoreError
from lamplighter.model.domain import ShutdownReason
from lamplighter.xenstore.wire import PAYLOAD_MAX

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from lamplighter.embedded.guests.behaviour import GuestProfile
    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.model.clock import Clock

#: The requests that Linux knows, and the normal shutdown reason of each.
_REQUESTS = {
    b"poweroff": ShutdownReason.POWEROFF,
    b"halt": ShutdownReason.POWEROFF,
    b"reboot": ShutdownReason.REBOOT,
    b"suspend": ShutdownReason.SUSPEND,
}

#: The requests that it advertises; ``halt`` is not one of them.
_ADVERTISED = ("poweroff", "reboot", "suspend")

#: Host seconds from a request to suspend until the guest has frozen itself.
FREEZING = 0.1


class GuestKernel:
    """The kernel of one incarnation."""

    def __init__(
        self,
        profile: GuestProfile,
        connect: Callable[[Callable[[str, bytes], None]], Session],
        clock: Clock,
        chance: random.Random,
        *,
        rebooted: bool,
    ) -> None:
        """``connect`` opens a session of the domain; ``rebooted``: the domain has rebooted once."""
        self._profile = profile
        self._clock = clock
        self._chance = chance
        self._rebooted = rebooted
        self._session = connect(self._request_written)
        self._woken = asyncio.Event()
        self._asked = False
        self._pressed = False
        self._booted = False
        self._deaf_now = False  # it is rebooting or freezing and reads nothing any more
        self._deaf_until = 0.0
        self._reason: ShutdownReason | None = None
        self._request: str | None = None  # what /sbin/poweroff or /sbin/reboot was started for
        self._ends = math.inf
        self.cut_off = False  # its own guard has forced its end
        self._agent = GuestAgent(profile, connect, clock, self) if profile.agent else None

    async def run(self) -> ShutdownReason:
        """Run; return the shutdown reason. A guest that hangs never returns."""
        await self._clock.sleep(self._profile.boot)
        self._booted = True
        behaviour = self._profile.behaviour
        if behaviour not in (Behaviour.DEAF, Behaviour.NO_DRIVERS):
            self._session.watch(REQUEST, b"shutdown")
        if behaviour is Behaviour.IGNORES:
            self._asked = False
            self._woken.clear()
        if self._profile.advertises:
            for request in _ADVERTISED:
                self._write(f"control/feature-{request}", b"1")
        if self._agent is None:
            return await self._live()
        agent = asyncio.get_running_loop().create_task(self._agent.run())
        try:
            return await self._live()
        finally:
            agent.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await agent

    async def _live(self) -> ShutdownReason:
        """Act on time, the power button and requests until the machine stops."""
        started = self._clock.monotonic()
        acts_at = started + self._profile.after
        noise_at = started if self._profile.behaviour is Behaviour.NOISY else math.inf
        while True:
            now = self._clock.monotonic()
            if self._reason is not None and now >= self._ends:
                return self._reason
            if now >= acts_at:
                acts_at = math.inf
                if self._profile.behaviour is Behaviour.CRASHES:
                    return ShutdownReason.CRASH
                self._begin(ShutdownReason.POWEROFF)
            if now >= noise_at:
                noise_at = now + self._profile.every
                # As many random bytes as one packet can carry.
                self._write(REQUEST, self._chance.randbytes(PAYLOAD_MAX - len(REQUEST) - 1))
            if self._pressed:
                self._pressed = False
                if self._profile.behaviour is not Behaviour.DEAF:
                    self._begin(ShutdownReason.POWEROFF)
            reads = not self._deaf_now and self._clock.monotonic() >= self._deaf_until
            if self._asked and reads:
                self._asked = False
                request = await clear_request(self._session, self._clock, _REQUESTS)
                if request is not None:
                    self._begin(_REQUESTS[request])
            reads_at = self._deaf_until if self._asked and not self._deaf_now else math.inf
            until = min(self._ends, acts_at, noise_at, reads_at)
            pause = None if math.isinf(until) else until - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(pause):
                    await self._woken.wait()
                self._woken.clear()

    def press_power(self) -> None:
        """Press the ACPI power button, which has no effect until the kernel is up."""
        if self._booted:
            self._pressed = True
            self._woken.set()

    @property
    def promised_until(self) -> float:
        """Until when the host has promised the guest time; infinite if it has not."""
        return self._agent.promised_until if self._agent is not None else math.inf

    # --- for the agent ---

    @property
    def shutting_down(self) -> str | None:
        """The program that shuts the system down: ``poweroff``, ``reboot``, or None."""
        return self._request

    def shut_down(self, request: str) -> None:
        """Act as if ``poweroff`` or ``reboot`` was run in the guest."""
        self._begin(_REQUESTS[request.encode()])
        self._woken.set()

    def release(self) -> None:
        """Let the shutdown continue: the scripts that init waited for have ended."""
        if self._reason is not None and math.isinf(self._ends):
            self._ends = self._clock.monotonic() + self._takes(self._reason)
            self._woken.set()

    def cut(self, request: str) -> None:
        """End the machine at once with ``reboot(2)``, whatever user space does."""
        self._reason, self._ends = _REQUESTS[request.encode()], self._clock.monotonic()
        self.cut_off = True
        self._woken.set()

    # --- requests and what follows from them ---

    def _request_written(self, _path: str, _token: bytes) -> None:
        if not self._asked:
            self._deaf_until = self._clock.monotonic() + self._profile.react
        self._asked = True
        self._woken.set()

    def _begin(self, reason: ShutdownReason) -> None:
        """Begin the shutdown in user space, unless one is under way."""
        if self._reason is not None:
            return
        behaviour = self._profile.behaviour
        if reason is ShutdownReason.SUSPEND:
            pass
        elif behaviour is Behaviour.CRASHES:
            reason = ShutdownReason.CRASH
        elif behaviour is Behaviour.REBOOTS and not self._rebooted:
            reason = ShutdownReason.REBOOT
        self._reason = reason
        self._deaf_now = reason in (ShutdownReason.REBOOT, ShutdownReason.SUSPEND)
        waits_for_agent = False
        if self._agent is not None and reason not in (ShutdownReason.SUSPEND, ShutdownReason.CRASH):
            self._request = "reboot" if reason is ShutdownReason.REBOOT else "poweroff"
            # Where user space hangs, init does not report the shutdown either.
            hangs = behaviour is Behaviour.HANGS
            waits_for_agent = not hangs and self._agent.system_stopping(self._request)
        if not waits_for_agent:
            self._ends = self._clock.monotonic() + self._takes(reason)

    def _takes(self, reason: ShutdownReason) -> float:
        return FREEZING if reason is ShutdownReason.SUSPEND else self._profile.shutdown

    def _write(self, path: str, value: bytes) -> None:
        """Write one of the guest's own nodes, unless the control domain removed it."""
        with contextlib.suppress(XenStoreError):
            self._session.write(path, value)
