"""The embedded XenStore in a process of its own: ``python -m bench.server SOCKET DOMAINS``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.embedded.xenstored.server import XenStoreServer
from lamplighter.embedded.xenstored.store import Store
from lamplighter.host.clock import LoopClock
from lamplighter.xenstore import paths


async def serve(path: str, domains: int) -> None:
    """Serve for ever a store in which that many domains have their names."""
    store = Store()
    session = store.connect(DOM0, lambda _path, _token: None)
    for domid in range(1, domains + 1):
        session.write(paths.name(domid), b"domain-%d" % domid)
    await XenStoreServer(store, Path(path), LoopClock()).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
