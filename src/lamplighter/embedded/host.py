"""The embedded host: all parts of a small Xen host, in one process, with two sockets.

    store ---- server        run/xenstored.sock     any XenStore client, as the control domain
      +------- guests                               simulated kernels, each as its own domain
    libxl, xl, hypervisor
      |
    calls ---- control       run/embedded.sock      the toolstack's driver; faults

It takes time from the clock it is given and randomness from a seed, so the same host is a daemon
on a laptop and a deterministic simulation in a test. It keeps nothing on disk: when it ends, all
its domains lose their power, and the next host has another boot id.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.embedded import CONTROL_SOCKET, XENSTORE_SOCKET
from lamplighter.embedded.toolstack.calls import Calls
from lamplighter.embedded.toolstack.control import ControlServer
from lamplighter.embedded.toolstack.faults import Faults
from lamplighter.embedded.toolstack.hypervisor import Hypervisor
from lamplighter.embedded.toolstack.xl import Xl
from lamplighter.embedded.xenstored.server import XenStoreServer
from lamplighter.embedded.xenstored.store import Store
from lamplighter.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from lamplighter.model.clock import Clock

#: The machine's memory in MiB: enough for a thousand domains of 256 MiB.
MEMORY = 512 * 1024


class EmbeddedHost:
    """One boot of one host; use it with ``async with``.

    ``speed`` is reported to clients: how many seconds of ``clock`` pass per real second. Without a
    ``seed`` every start is different. ``memory`` is in MiB.
    """

    def __init__(
        self,
        run_dir: Path,
        clock: Clock,
        seed: int | None = None,
        *,
        speed: float = 1.0,
        memory: int = MEMORY,
    ) -> None:
        chance = random.Random(seed)
        self.boot_id = str(UUID(int=chance.getrandbits(128), version=4))
        self.xenstore_path = run_dir / XENSTORE_SOCKET
        self.control_path = run_dir / CONTROL_SOCKET
        self.hypervisor = Hypervisor(memory)
        self.store = Store()
        self.faults = Faults(clock)
        self.xenstore = XenStoreServer(self.store, self.xenstore_path, clock)
        self.xl = Xl(self.hypervisor, self.store, clock, chance)
        self._run_dir = run_dir
        self._speed = speed
        self._since = clock.wall()
        self._quit = asyncio.Event()
        self._calls = Calls(
            self.xl, self.hypervisor, self.xenstore, self.faults, self.status, self.quit
        )
        self._control = ControlServer(self.control_path, clock, self._calls.answer)

    async def __aenter__(self) -> Self:
        """Open the sockets; raise ``ConfigurationError`` when that fails."""
        try:
            self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"the run directory cannot be made: {error.strerror}"
            raise ConfigurationError(message, where=str(self._run_dir)) from error
        await self.xenstore.start()
        # Last, so that a client that finds the control socket finds the whole host.
        await self._control.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut the power and close the sockets."""
        await self._calls.close()
        await self._control.close()
        await self.xl.close()
        await self.xenstore.close()

    def quit(self) -> None:
        """Ask the process that runs this host to end it."""
        self._quit.set()

    async def asked_to_quit(self) -> None:
        """Return once ``quit`` was called."""
        await self._quit.wait()

    def status(self) -> dict[str, object]:
        """Return the state of the host itself, ready for JSON; memory in MiB."""
        return {
            "boot_id": self.boot_id,
            "pid": os.getpid(),
            "speed": self._speed,
            "since": self._since.isoformat(timespec="seconds"),
            "memory": self.hypervisor.memory,
            "free": self.hypervisor.free,
            "domains": len(self.hypervisor.domains()) - 1,
        }
