"""The host that the contract tests run against: the embedded one, or real Xen.

``LAMPLIGHTER_CONTRACT=xen`` means the Xen host this machine is the control domain of, with the
lab's guests. Otherwise it is an embedded host inside this process, on virtual time. The tests
cannot tell which; what differs is told here and nowhere else:

- how a definition gives its guest a behaviour,
- how much longer everything may take (``LAMPLIGHTER_CONTRACT_SCALE``, 6 on Xen),
- where definitions may lie, so that they are trusted.

Only pytest and the standard library are needed beside Lamplighter.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import NAMESPACE_DNS, uuid5

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.errors import CallFailed
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.formats.definition import read_definition
from lamplighter.formats.xl_output import reaper_pid
from lamplighter.formats.xlcfg import parse
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.xenstore.client import XenStore
from lamplighter.service.incarnation import newest_domid
from lamplighter.service.inventory import load_inventory
from lamplighter.service.managed_host import Host
from lamplighter.toolstacks.choose import choose
from lamplighter.toolstacks.embedded import EmbeddedToolstack
from lamplighter.toolstacks.xl import LOGS
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.model.plan import Plan
    from lamplighter.model.policy import Configuration
    from lamplighter.model.run import Result, Transition
    from lamplighter.toolstacks.base import Toolstack

    T = TypeVar("T")

ON_XEN = os.environ.get("LAMPLIGHTER_CONTRACT", "embedded") == "xen"
SCALE = float(os.environ.get("LAMPLIGHTER_CONTRACT_SCALE", "6" if ON_XEN else "1"))

#: Where the lab keeps its guests, and what it says of them.
LAB = Path("/var/lib/lamplighter-lab")

#: Where xenconsoled logs what the guests say.
CONSOLES = Path("/var/log/xen/console")

#: What guests run: the lab's small kernel, if nothing else is said, or a real Linux.
KERNELS = ("spark", "linux") if ON_XEN else ("embedded",)

#: What the lab's behaviours are called on an embedded host, where that is another name.
_ALIASES = {"garbles": "noisy"}

#: The key that sets a behaviour's own time on an embedded host.
_TIME_KEYS = {"slow": "embedded_shutdown", "quits": "embedded_after"}

#: Host seconds between two looks at something that is waited for.
PAUSE = 0.3 if ON_XEN else 0.1

#: Nodes of the tests' own.
NODES = "/lamplighter-contract"


if ON_XEN:
    run = asyncio.run
else:
    from tests import virtual  # dom0 has no copy of it

    run = virtual.run


class UnderTest:
    """One host, and the domains that the test defined on it."""

    def __init__(self, toolstack: Toolstack, xenstore: XenStore, folder: Path) -> None:
        self.clock = LoopClock()
        self.toolstack = toolstack
        self.xenstore = xenstore
        self.folder = folder
        self._defined: list[Definition] = []

    # --- definitions ---

    def define(
        self,
        name: str,
        behaviour: str,
        *,
        kernel: str = KERNELS[0],
        seconds: int | None = None,
        **keys: str,
    ) -> Definition:
        """Write the definition of a guest of this behaviour; ``seconds`` is its time."""
        values = _on_xen(behaviour, kernel, seconds) if ON_XEN else _embedded(behaviour, seconds)
        values = {
            "name": f"contract-{name}",
            "uuid": str(uuid5(NAMESPACE_DNS, f"{name}.contract.lamplighter")),
            **values,
            **keys,
        }
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        path = self.write(f"{name}.cfg", text)
        definition = read_definition(parse(text, str(path))).definition
        assert definition is not None
        self._defined.append(definition)
        return definition

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder of the definitions."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    # --- domains ---

    async def kill_reaper(self, seen: DomainInfo) -> None:
        """Kill the process that xl left behind for a domain."""
        if ON_XEN:
            pid = reaper_pid((LOGS / f"xl-{seen.name}.log").read_text(), seen.domid)
            assert pid is not None, "xl's log does not tell who waits"
            os.kill(pid, signal.SIGKILL)
        else:
            assert isinstance(self.toolstack, EmbeddedToolstack)
            await self.toolstack._control.call("kill-reaper", domid=seen.domid)

    async def find(self, definition: Definition) -> DomainInfo | None:
        """Return the newest incarnation that is listed."""
        found = [seen for seen in await self.toolstack.list() if definition.matches(seen)]
        return max(found, key=lambda seen: seen.domid, default=None)

    async def is_gone(self, definition: Definition) -> bool:
        return await self.find(definition) is None

    async def boot(self, definition: Definition) -> DomainInfo:
        """Create a domain and return once its kernel can be asked and its user space is there.

        A Linux that is asked in between powers off by itself, whatever its behaviour.
        """
        before = user_spaces(definition)
        domid = await self.create(definition)
        await self.until_up(domid)
        await self.until_user_space(definition, more_than=before)
        seen = await self.find(definition)
        assert seen is not None
        assert seen.domid == domid
        return seen

    async def create(self, definition: Definition) -> int:
        """Create a domain; XenStore tells its domid as soon as the call has returned."""
        await self.toolstack.create(definition)
        domid = await newest_domid(self.xenstore, definition)
        assert domid is not None, "XenStore does not tell which domain was created"
        return domid

    async def until_user_space(self, definition: Definition, more_than: int = 0) -> None:
        """Wait until the domain's user space has begun oftener than that."""

        async def has_user_space() -> bool:
            return not ON_XEN or user_spaces(definition) > more_than

        await self.until(has_user_space, 20)

    async def until_up(self, domid: int) -> None:
        async def up() -> bool:
            return await self.xenstore.read_or_none(paths.feature_poweroff(domid)) == b"1"

        await self.until(up, 30)

    async def ask(self, domid: int) -> None:
        """Write the request to power off, as any tool would."""
        await self.xenstore.write(paths.control_shutdown(domid), b"poweroff")

    async def request(self, domid: int) -> bytes | None:
        return await self.xenstore.read_or_none(paths.control_shutdown(domid))

    async def listen(self, path: str) -> list[str]:
        """Watch a path; return the list to which events are added, after the first one."""
        fired: list[str] = []
        await self.xenstore.watch(path, fired.append)
        await self.hears(fired, path)
        assert set(fired) == {path}, "a watch fires once when it is set"
        fired.clear()
        return fired

    async def hears(self, fired: list[str], path: str) -> None:
        """Return when an event has come. oxenstored lets later answers overtake it."""

        async def heard() -> bool:
            return path in fired

        await self.until(heard, 5)

    async def take_away_all(self) -> None:
        """Destroy what the test left behind, also what comes back meanwhile."""

        async def gone() -> bool:
            left = [
                seen
                for seen in await self.toolstack.list()
                if any(each.matches(seen) for each in self._defined)
            ]
            for seen in left:
                if not seen.dying:
                    await self.toolstack.destroy(seen.domid)
            return not left

        await self.until(gone, 20)

    # --- time ---

    async def until(self, condition: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Return what ``condition`` returns once that is true; fail when time is up."""
        deadline = self.clock.monotonic() + seconds * SCALE
        while self.clock.monotonic() < deadline:
            if value := await condition():
                return value
            await self.clock.sleep(PAUSE)
        raise AssertionError(f"{condition.__qualname__} did not hold within {seconds * SCALE:g} s")

    async def holds(self, condition: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Fail unless ``condition`` is true all that time, which is not scaled."""
        deadline = self.clock.monotonic() + seconds
        while self.clock.monotonic() < deadline:
            assert await condition()
            await self.clock.sleep(PAUSE)

    # --- the whole product ---

    def product(self, policy: str) -> Host:
        """Return what the product's commands work with, for the definitions of this test."""
        kind, owner = ("xl", 0) if ON_XEN else ("embedded", os.getuid())
        text = f'[host]\ntoolstack = "{kind}"\ndefinitions = ["{self.folder}/*.cfg"]\n{policy}'
        configuration = toml.parse(text, str(self.folder / "lamplighter.toml"))
        inventory = load_inventory(configuration, owner=owner)
        assert not inventory.problems
        intents = IntentStore(self.folder / "state", self.clock)
        return Host(
            configuration,
            self.clock,
            self.toolstack,
            self.xenstore,
            inventory,
            "this-boot",
            intents,
        )


class Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.results: list[Result] = []
        self.reported: list[tuple[str, str]] = []
        self.messages: list[str] = []

    def began(self, plan: Plan) -> None:
        """A plan alone is not news here."""

    def moved(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def guest_reported(self, name: str, text: str) -> None:
        self.reported.append((name, text))

    def settled(self, result: Result) -> None:
        self.results.append(result)

    def message(self, level: int, message: str) -> None:
        self.messages.append(message)


# --- what differs ------------------------------------------------------------------------------


def user_spaces(definition: Definition) -> int:
    """How many incarnations of a domain have said on their console that their user space is up."""
    console = CONSOLES / f"guest-{definition.name}.log"
    return console.read_bytes().count(b"lamplighter-guest: up") if console.exists() else 0


def _on_xen(behaviour: str, kernel: str, seconds: int | None) -> dict[str, object]:
    name = behaviour if kernel == "spark" else f"{kernel}-{behaviour}"
    profile = json.loads((LAB / "guests.json").read_text())[name]
    extra = profile["extra"] + (f" lamp.seconds={seconds}" if seconds is not None else "")
    values = {"kernel": profile["kernel"], "memory": profile["memory"], "vcpus": 1}
    if profile["ramdisk"]:
        values["ramdisk"] = profile["ramdisk"]
    return {**values, "extra": extra.strip()}


def _embedded(behaviour: str, seconds: int | None) -> dict[str, object]:
    values: dict[str, object] = {"memory": 96, "embedded_guest": _ALIASES.get(behaviour, behaviour)}
    if seconds is not None:
        values[_TIME_KEYS[behaviour]] = f"{seconds}s"
    return values


@asynccontextmanager
async def host_under_test(folder: Path) -> AsyncIterator[UnderTest]:
    """Reach the host; afterwards none of the test's domains or nodes is left."""
    if ON_XEN:
        (LAB / "contract").mkdir(mode=0o755, exist_ok=True)
        definitions = Path(tempfile.mkdtemp(dir=LAB / "contract"))
        try:
            async with _connected('toolstack = "xl"', definitions) as host:
                yield host
        finally:
            shutil.rmtree(definitions)
        return
    definitions = folder / "domains"
    definitions.mkdir(mode=0o755)
    async with EmbeddedHost(folder / "run", LoopClock(), seed=1):
        settings = f'toolstack = "embedded"\nrun = "{folder / "run"}"'
        async with _connected(settings, definitions) as host:
            yield host


@asynccontextmanager
async def _connected(settings: str, definitions: Path) -> AsyncIterator[UnderTest]:
    clock = LoopClock()
    configuration: Configuration = toml.parse(f"[host]\n{settings}\n", "contract.toml")
    toolstack = choose(configuration, clock)
    xenstore = await XenStore.connect(toolstack.xenstore_path, clock)
    host = UnderTest(toolstack, xenstore, definitions)
    try:
        yield host
    finally:
        try:
            await host.take_away_all()
            await xenstore.rm(NODES)
        except CallFailed as error:
            raise AssertionError(f"the test's domains could not be taken away: {error}") from error
        finally:
            await xenstore.close()
            await toolstack.close()
