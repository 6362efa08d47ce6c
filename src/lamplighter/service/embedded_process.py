"""The embedded host as a process of its own: runs it, starts it, stops it.

The process holds ``embedded.lock`` in the run directory while it lives and answers at its control
socket while it works, so four cases can be distinguished: it runs, it does not, it is just starting
or ending, it hangs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamplighter.embedded import CONTROL_SOCKET
from lamplighter.embedded.host import EmbeddedHost
from lamplighter.errors import CallFailed, CallTimedOut, HostBusy, ToolstackUnreachable
from lamplighter.host import lock, programs
from lamplighter.host.clock import LoopClock
from lamplighter.toolstacks.embedded import ControlClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK = "embedded.lock"
LOG = "embedded.log"

#: Real seconds a host may take to start or to end, and between two checks whether it has.
TIMEOUT = 20.0
POLL_INTERVAL = 0.02

#: Real seconds that one call to it may take.
CALL_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an embedded host lives: its folder, its configuration and its run directory."""

    folder: Path
    configuration: Path
    run: Path

    def client(self) -> ControlClient:
        """Return a client for its control socket."""
        return ControlClient(self.run / CONTROL_SOCKET, LoopClock(), CALL_TIMEOUT)

    def lives(self) -> bool:
        """Return whether there is a process, answering or not."""
        return lock.is_held(self.run / LOCK)


async def serve(place: Place, speed: float, ready: Callable[[EmbeddedHost], None]) -> None:
    """Run the host until it is asked to quit; raise ``HostBusy`` when another process runs it.

    ``ready`` is called once both sockets are open.
    """
    with lock.hold(place.run / LOCK):
        async with EmbeddedHost(place.run, LoopClock(speed), speed=speed) as host:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, host.quit)
            ready(host)
            await host.asked_to_quit()


async def start(place: Place, speed: float) -> tuple[dict[str, Any], bool]:
    """Start the host unless it runs; return its status and whether it was started.

    Returns when it answers; raises ``ToolstackUnreachable`` when it does not.
    """
    if place.lives():
        return await _await_answer(place, None), False
    command = (sys.executable, "-m", "lamplighter", "host", "start", str(place.folder))
    options = ("--foreground", "--speed", f"{speed:g}")
    pid = programs.spawn((*command, *options), place.run / LOG)
    status = await _await_answer(place, pid)
    return status, status.get("pid") == pid


async def status(place: Place) -> dict[str, Any]:
    """Return the host's status; raise ``ToolstackUnreachable`` when it does not run."""
    return await place.client().call("status")


async def stop(place: Place) -> dict[str, Any] | None:
    """Stop the host and wait until its process has gone; return its last status.

    None when it did not run. Raises ``CallTimedOut`` when it does not end.
    """
    if not place.lives():
        return None
    client = place.client()
    last: dict[str, Any] = {}
    try:
        last = await client.call("status")
        await client.call("quit")
    except (ToolstackUnreachable, CallFailed):
        pass  # it is ending already, or it hangs: the lock shows which
    clock = LoopClock()
    try:
        async with clock.timeout(TIMEOUT):
            while place.lives():
                await clock.sleep(POLL_INTERVAL)
    except TimeoutError:
        raise CallTimedOut(
            f"the embedded host in {place.folder} did not end within {TIMEOUT:g} s",
            hint=f"its log is {place.run / LOG}; kill its process",
        ) from None
    if isinstance(last.get("pid"), int):
        programs.ended(last["pid"])  # a child of this process would stay a zombie
    return last


async def _await_answer(place: Place, pid: int | None) -> dict[str, Any]:
    """Return the status once the host answers; ``pid`` is the process that was started for it."""
    clock = LoopClock()
    hint = f"its log is {place.run / LOG}"
    deadline = clock.monotonic() + TIMEOUT
    while clock.monotonic() < deadline:
        try:
            return await status(place)
        except (ToolstackUnreachable, CallFailed):
            await clock.sleep(POLL_INTERVAL)
        exit_status = None if pid is None else programs.ended(pid)
        # Another command may have started the same host at the same time.
        if exit_status is not None and exit_status != HostBusy.exit_status:
            line = programs.last_line(place.run / LOG)
            raise ToolstackUnreachable(f"the embedded host did not start: {line}", hint=hint)
    raise ToolstackUnreachable(f"the embedded host in {place.folder} does not answer", hint=hint)
