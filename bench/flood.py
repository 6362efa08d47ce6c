"""How long nine domains take to stop beside one that floods its nodes, against no flood.

A process of its own writes 2,000 updates a second of random bytes into the tenth domain's nodes,
from before the stop until its end. The nine take between one second and ``SLOWEST`` to shut down;
what they take more in the flood is our cost, and the embedded host's, which serves the flood on the
same processors. The other figure is the number of requests that our client makes for the flooding
domain in a second, against a limit.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.ratio import Ratio, Skipped
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.host.clock import LoopClock
from lamplighter.model.record import NO_RECORD
from lamplighter.model.run import Direction
from lamplighter.service import embedded_process
from lamplighter.service.managed_host import open_host
from lamplighter.service.run.prepare import make_plan
from lamplighter.service.run.progress import ListenerGroup
from lamplighter.service.run.recorder import open_journal
from lamplighter.service.run.runner import Runner
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamplighter.host.xenstore.client import XenStore
    from lamplighter.model.policy import Configuration

NINE = [f"guest-{number}" for number in range(1, 10)]
FLOODED = "flooded"
UPDATES = 2000
SLOWEST = 5.0
ROUNDS = 3

#: The most that a stop of the nine beside a flood may take, as a multiple of one without.
AIM = 1.10

#: Requests a second for the flooded domain: a reading a second looks at eight nodes, and what is
#: written is tried a bounded number of times.
LIMIT = 20.0

#: A flood that does not reach this part of its rate does not count as one.
LEAST = 0.8

CONFIGURATION = f"""\
[host]
toolstack = "embedded"
definitions = ["domains/*.cfg"]
state = "state"
run = "run"

[defaults]
start = "always"

[domain.{FLOODED}]
stop_timeout = "10s"
ack_timeout = "3s"
"""


class Stop(NamedTuple):
    """One stop: how many seconds the nine took, and the requests a second for the tenth.

    ``processor`` is our processor time of the whole stop, in seconds.
    """

    nine: float
    requests: float
    processor: float


def measure() -> Iterator[Ratio]:
    """Measure both in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = _write(folder)
        place = embedded_process.Place(folder, folder / "lamplighter.toml", folder / "run")
        asyncio.run(embedded_process.start(place, 1.0))
        try:
            pairs = [_both(configuration) for _ in range(ROUNDS)]
        finally:
            asyncio.run(embedded_process.stop(place))
    ours, peer = min(wild.nine for wild, _ in pairs), min(calm.nine for _, calm in pairs)
    yield Ratio(
        "stop of 9 beside a flood, calm",
        *(ours, peer, ours / peer, "s", AIM),
        at_most=True,
        processor=min(wild.processor for wild, _ in pairs),
    )
    most = max(wild.requests for wild, _ in pairs)
    yield Ratio("requests for who floods", most, LIMIT, most / LIMIT, "a second", 1.0, at_most=True)


def _both(configuration: Configuration) -> tuple[Stop, Stop]:
    """One stop beside a flood, and one without."""
    wild = asyncio.run(_up_and_down(configuration, UPDATES))
    return wild, asyncio.run(_up_and_down(configuration, 0))


async def _up_and_down(configuration: Configuration, updates: int) -> Stop:
    async with open_host(configuration) as host, open_journal(host):
        plan = await make_plan(host, Direction.UP, (), NO_RECORD)
        await Runner(host, ListenerGroup([])).run(plan)
        plan = await make_plan(host, Direction.DOWN, (), NO_RECORD)
        domid = next(s.info.domid for s in plan.steps if s.info and s.name == FLOODED)
        with _flood(host.toolstack.xenstore_path, domid, updates):
            await LoopClock().sleep(1.0)
            made = _count(host.xenstore, f"{paths.domain(domid)}/")
            began = time.process_time()
            run = await Runner(host, ListenerGroup([])).run(plan)
            spent = time.process_time() - began
    took = {result.name: result for result in run.results}
    assert all(took[name].outcome.value == "clean" for name in NINE), run.results
    return Stop(max(took[name].seconds for name in NINE), len(made) / took[FLOODED].seconds, spent)


def _count(store: XenStore, prefix: str) -> list[str]:
    """Return a list that grows with every request about a domain from now on."""
    made: list[str] = []
    read, write, rm = store.read, store.write, store.rm

    async def counted_read(path: str, tx: int = 0) -> bytes:
        made.extend([path] * path.startswith(prefix))
        return await read(path, tx)

    async def counted_write(path: str, value: bytes, tx: int = 0) -> None:
        made.extend([path] * path.startswith(prefix))
        await write(path, value, tx)

    async def counted_rm(path: str, tx: int = 0) -> None:
        made.extend([path] * path.startswith(prefix))
        await rm(path, tx)

    store.read, store.write, store.rm = counted_read, counted_write, counted_rm  # type: ignore[method-assign]
    return made


@contextmanager
def _flood(socket: str, domid: int, updates: int) -> Iterator[None]:
    """Flood a domain's nodes while the block lasts; with no updates, connect and write nothing."""
    command = [sys.executable, "-m", "bench.flooder", socket, str(domid), str(updates)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise Skipped("the flood did not begin")
        yield
        reached, _ = process.communicate(timeout=20)
    if float(reached or 0) < LEAST * updates:
        raise Skipped(f"the flood came to {float(reached or 0):.0f} updates a second")


def _write(folder: Path) -> Configuration:
    (folder / "domains").mkdir(mode=0o755)
    for number, name in enumerate([*NINE, FLOODED]):
        takes = 1 + (SLOWEST - 1) * number / (len(NINE) - 1)
        behaviour = "deaf" if name == FLOODED else "prompt"
        path = folder / "domains" / f"{name}.cfg"
        path.write_text(
            f'name = "{name}"\nmemory = 64\nembedded_guest = "{behaviour}"\n'
            f'embedded_boot = "1s"\nembedded_advertises = "yes"\n'
            f'embedded_shutdown = "{takes * 1000:.0f}ms"\n'
        )
        path.chmod(0o644)
    file = folder / "lamplighter.toml"
    file.write_text(CONFIGURATION)
    return toml.parse(CONFIGURATION, str(file))
