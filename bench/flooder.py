"""A guest that floods its nodes: ``python -m bench.flooder SOCKET DOMID UPDATES_A_SECOND``.

It writes random bytes into every node of its own that a host looks at, until its standard input
ends; then it prints how many updates a second it made.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from lamplighter.formats.agent_protocol import GUEST_NODES
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import XenStore
from lamplighter.xenstore import paths

#: Seconds between two bursts.
PAUSE = 0.01


async def flood(socket: str, domid: int, rate: int) -> None:
    """Flood the nodes until standard input ends."""
    store = await XenStore.connect(socket, LoopClock())
    nodes = [paths.control_shutdown(domid), paths.feature_poweroff(domid), paths.agent(domid)]
    nodes += [paths.agent_node(domid, name) for name in (*GUEST_NODES, "asked", "answer", "other")]
    version = paths.agent_node(domid, "version")
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    began, written = time.monotonic(), 0
    print("ready", flush=True)
    while not ended.done():
        due = int((time.monotonic() - began) * rate) - written
        await asyncio.gather(*(store.write(*_update(nodes, version)) for _ in range(due)))
        written += due
        await asyncio.sleep(PAUSE)
    print(written / (time.monotonic() - began), flush=True)
    await store.close()


def _update(nodes: list[str], version: str) -> tuple[str, bytes]:
    """Random bytes for one of the nodes; now and then a version, so that the rest is looked at."""
    node = random.choice(nodes)
    return node, b"1 0.2.0" if node == version else random.randbytes(random.choice((0, 8, 1500)))


asyncio.run(flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
