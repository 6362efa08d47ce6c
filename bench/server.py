"""A XenStore server in a process of its own: ``python -m bench.server SOCKET DOMAINS``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.small_store import SmallStore


async def serve(path: str, domains: int) -> None:
    """Serve for ever."""
    async with SmallStore(Path(path)) as store:
        for domid in range(1, domains + 1):
            store.values[f"/local/domain/{domid}/name"] = b"domain-%d" % domid
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
