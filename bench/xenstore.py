"""How many reads a second our XenStore client makes, against pyxs on the same server.

The server is the embedded host's, in a process of its own. pyxs reads one at a time; our client is
measured the same way, and then as Lamplighter uses it: a thousand workers share one connection, and
each reads one value after another.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ratio import Ratio, Skipped, in_turns
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import XenStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

ROUNDS = 9
DOMAINS = 1000
READS = 2000
READS_EACH = 20

pyxs = import_module("pyxs")  # it has no types

PATHS = [f"/local/domain/{domid}/name" for domid in range(1, DOMAINS + 1)]


def measure() -> Iterator[Ratio]:
    """Measure both ways of reading."""
    with server() as path:
        for name, rate, aim in (
            ("XenStore reads, one at a time", one_at_a_time, 1.5),
            ("XenStore reads, pipelined", pipelined, 5.0),
        ):
            ours, peer, ratio = in_turns(partial(rate, path), partial(pyxs_rate, path), ROUNDS)
            yield Ratio(name, ours, peer, ratio, "reads/s", aim)


def one_at_a_time(path: str) -> float:
    """Return the reads per second when each waits for the one before."""

    async def body(store: XenStore) -> float:
        began = time.perf_counter()
        for number in range(READS):
            await store.read(PATHS[number % DOMAINS])
        return READS / (time.perf_counter() - began)

    return on_a_client(path, body)


def pipelined(path: str) -> float:
    """Return the reads per second of a thousand workers."""

    async def body(store: XenStore) -> float:
        async def worker(name: str) -> None:
            for _ in range(READS_EACH):
                await store.read(name)

        began = time.perf_counter()
        await asyncio.gather(*map(worker, PATHS))
        return READS_EACH * DOMAINS / (time.perf_counter() - began)

    return on_a_client(path, body)


def on_a_client(path: str, body: Callable[[XenStore], Coroutine[None, None, float]]) -> float:
    """Return what the body measures with a client that is warm."""

    async def main() -> float:
        store = await XenStore.connect(path, LoopClock())
        try:
            await asyncio.gather(*map(store.read, PATHS[:200]))
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(main())


def pyxs_rate(path: str) -> float:
    """Return the reads per second of pyxs."""
    paths = [name.encode() for name in PATHS]
    with pyxs.Client(unix_socket_path=path) as client:
        for name in paths[:200]:
            client.read(name)
        began = time.perf_counter()
        for number in range(READS):
            client.read(paths[number % DOMAINS])
        return READS / (time.perf_counter() - began)


@contextmanager
def server() -> Iterator[str]:
    """Run the server in a process of its own; yield its socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        command = [sys.executable, "-m", "bench.server", path, str(DOMAINS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                if process.stdout.readline() != b"ready\n":
                    raise Skipped("the embedded host's XenStore did not start")
                yield path
            finally:
                process.terminate()
