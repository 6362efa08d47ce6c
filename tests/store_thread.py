"""A XenStore on a loop of its own, in a thread, for a client that knows nothing of asyncio."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from lamplighter.embedded.xenstored.server import XenStoreServer
from lamplighter.embedded.xenstored.store import Store
from lamplighter.host.clock import LoopClock
from tests.small_store import SmallStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

T = TypeVar("T")

#: Real seconds in which the thread has begun, ended, or done what it was asked.
PATIENCE = 20.0


class StoreThread:
    """The embedded host's store at ``path``; clients are the control domain, with its own nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def do(self, work: Callable[..., Any], *given: Any) -> Any:
        """Have the loop's thread call this, or await what it returns, and return the result."""

        async def call() -> Any:
            result = work(*given)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    async def _start(self) -> None:
        self._server = XenStoreServer(Store(), self.path, LoopClock())
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.close()


class SmallStoreThread(StoreThread):
    """The small store of the client's tests, which does what it is told."""

    store: SmallStore

    async def _start(self) -> None:
        self.store = SmallStore(self.path)
        await self.store.listen()

    async def _stop(self) -> None:
        self.store.stop()
