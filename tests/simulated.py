"""The whole product below the command line on an embedded host, on virtual time.

A ``Simulation`` has an embedded host with its two sockets, the product's own toolstack driver,
XenStore client and observer, and a record of what really happened to each domain, taken from the
hypervisor's side and not from what the product says. ``simulate`` runs a story in it, and
afterwards checks what must hold whatever happened:

- every domain of a plan has exactly one result,
- ``clean`` is said of no domain that was destroyed while it ran, or that runs still,
- ``forced`` is said of no domain that ended by itself, unless as its guest's own doing.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.engine.plan import plan_down, plan_up
from lamplighter.engine.stop.extension import BY_THE_GUEST
from lamplighter.formats import lamplighter_toml as toml
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.xenstore.client import XenStore
from lamplighter.model.run import Outcome
from lamplighter.service.inventory import load_inventory
from lamplighter.service.managed_host import Host
from lamplighter.service.run.prepare import find_protected
from lamplighter.service.run.runner import Runner
from lamplighter.toolstacks.embedded import EmbeddedToolstack
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from uuid import UUID

    from lamplighter.embedded.toolstack.xl import Xl
    from lamplighter.host.journal.writer import Journal
    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Run, Transition

    Story = Callable[["Simulation"], Awaitable[None]]

CLOCK = LoopClock()

#: No story lasts longer, in virtual seconds.
LONGEST = 7200.0


class CountingToolstack(EmbeddedToolstack):
    """The product's driver; notes when it is asked for listings."""

    def __init__(self, run: Path, call_timeout: float) -> None:
        super().__init__(run, CLOCK, call_timeout=call_timeout)
        self.listed_at: list[float] = []

    async def list(self) -> list[DomainInfo]:
        self.listed_at.append(CLOCK.monotonic())
        return await super().list()


class Heard:
    """A listener that keeps what it was told, and when."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.results: list[Result] = []
        self.reported: list[tuple[str, str]] = []
        self.settled_at: dict[str, float] = {}
        self.messages: list[str] = []

    def began(self, plan: Plan) -> None:
        """A plan alone is not news here."""

    def moved(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def guest_reported(self, name: str, text: str) -> None:
        self.reported.append((name, text))

    def settled(self, result: Result) -> None:
        self.results.append(result)
        self.settled_at[result.name] = CLOCK.monotonic()

    def message(self, level: int, message: str) -> None:
        self.messages.append(message)


async def never(*_: object) -> None:
    """Stands in for a request that is not answered."""
    await asyncio.Event().wait()


class Truth:
    """What happened to the domains, as the hypervisor knows it."""

    def __init__(self, xl: Xl) -> None:
        self.cut: set[UUID] = set()  # destroyed while it ran
        self.destroyed: list[int] = []
        self._xl = xl
        self._destroy = xl.destroy
        xl.destroy = self._note  # type: ignore[method-assign]

    async def _note(self, domid: int) -> None:
        seen = next((seen for seen in self._xl.list() if seen.domid == domid), None)
        if seen is not None:
            self.destroyed.append(domid)
            if seen.running:
                self.cut.add(seen.uuid)
        await self._destroy(domid)


#: Time-outs that a story waits out quickly; `hangs` has less than the others.
POLICY = """
[defaults]
start_timeout = "20s"
ack_timeout = "5s"
stop_timeout = "40s"
[domain.hangs]
stop_timeout = "12s"
"""


class Simulation:
    """One host and the product on it."""

    def __init__(
        self, embedded: EmbeddedHost, folder: Path, policy: str, call_timeout: float
    ) -> None:
        self.embedded = embedded
        self.truth = Truth(embedded.xl)
        self.toolstack = CountingToolstack(folder / "run", call_timeout)
        self.heard = Heard()
        self.journal: Journal | None = None
        self.runner: Runner
        self._policy = policy
        self._folder = folder / "domains"
        self._folder.mkdir(mode=0o755)
        self._numbers = 0
        self.xenstore: XenStore

    def define(self, name: str, guest: str = "prompt", **keys: str | int) -> str:
        """Write a definition that is started with the host; return its name."""
        self._numbers += 1
        values = {
            "name": name,
            "uuid": f"00000000-0000-4000-8000-{self._numbers:012}",
            "memory": 64,
            "on_xend_start": "start",
            "embedded_guest": guest,
            **keys,
        }
        path = self._folder / f"{name}.cfg"
        path.write_text(
            "".join(
                f"{key} = {value}\n" if isinstance(value, int) else f'{key} = "{value}"\n'
                for key, value in values.items()
            )
        )
        path.chmod(0o644)
        return name

    def product(self) -> Host:
        """Return what the commands work with, with the definitions read anew."""
        text = f'[host]\ntoolstack = "embedded"\ndefinitions = ["{self._folder}/*.cfg"]\n'
        if "state =" not in self._policy:
            text += f'state = "{self._folder.parent}/state"\n'
        configuration = toml.parse(text + self._policy, "lamplighter.toml")
        inventory = load_inventory(configuration, owner=self._folder.stat().st_uid)
        fatal = [problem.message for problem in inventory.problems if problem.fatal]
        assert not fatal
        host = Host(
            configuration,
            CLOCK,
            self.toolstack,
            self.xenstore,
            inventory,
            self.embedded.boot_id,
            IntentStore(Path(configuration.host.state.value), CLOCK),
        )
        host.journal = self.journal
        return host

    async def up(self, names: Collection[str] = ()) -> dict[str, Outcome]:
        """Plan and carry out a start; return the outcomes by name."""
        host = self.product()
        return await self.carry_out(host, plan_up(host.inventory, self.embedded.xl.list(), names))

    async def down(self, names: Collection[str] = ()) -> dict[str, Outcome]:
        """Plan and carry out a stop; return the outcomes by name."""
        host = self.product()
        look = partial(self.look, host, names)
        return await self.carry_out(host, await look(), None if names else look)

    async def look(self, host: Host, names: Collection[str] = ()) -> Plan:
        """Plan a stop."""
        domains = self.embedded.xl.list()
        protected = await find_protected(host, domains)
        return plan_down(host.inventory, domains, names, protected=protected)

    async def carry_out(
        self, host: Host, plan: Plan, latecomers: Callable[[], Awaitable[Plan]] | None = None
    ) -> dict[str, Outcome]:
        self.heard = Heard()
        self.toolstack.listed_at.clear()
        self.runner = Runner(host, self.heard)
        self.run = await self.runner.run(plan, latecomers)
        self._check(plan, self.run)
        return {result.name: result.outcome for result in self.run.results}

    def result(self, name: str) -> Result:
        """Return one domain's result in the last run."""
        return next(result for result in self.run.results if result.name == name)

    def running(self) -> dict[str, int]:
        """Return the domid of each guest that executes, by name."""
        guests = self.embedded.xl.list()[1:]
        return {seen.name: seen.domid for seen in guests if seen.running}

    def definition(self, name: str) -> Definition:
        return self.product().inventory.domains[name].definition

    def _check(self, plan: Plan, run: Run) -> None:
        names = [step.name for step in plan.steps]
        told = [result.name for result in run.results]
        assert told[: len(names)] == names, "one result each"
        assert sorted(result.name for result in self.heard.results) == sorted(told)
        run_still = {seen.uuid for seen in self.embedded.xl.list()[1:] if seen.running}
        for result in run.results:
            if result.outcome is Outcome.CLEAN:
                assert result.uuid not in self.truth.cut, f"{result.name} was destroyed"
                assert result.uuid not in run_still, f"{result.name} runs"
            if result.outcome is Outcome.FORCED:
                by_itself = BY_THE_GUEST in result.note
                assert by_itself != (result.uuid in self.truth.cut), f"{result.name}: {result}"
            if result.outcome is Outcome.STARTED and result.uuid is not None:
                assert result.uuid in run_still or "boot was not" in result.note, result
        assert run.exit == int(not all(result.good for result in run.results))


def simulate(
    story: Story,
    *,
    seed: int = 1,
    policy: str = "",
    call_timeout: float = 120.0,
    memory: int = 512 * 1024,
) -> None:
    """Run a story; fail when it does not end within two virtual hours."""

    async def main(folder: Path) -> None:
        async with EmbeddedHost(folder / "run", CLOCK, seed, memory=memory) as embedded:
            simulation = Simulation(embedded, folder, policy, call_timeout)
            simulation.xenstore = await XenStore.connect(str(embedded.xenstore_path), CLOCK)
            try:
                async with CLOCK.timeout(LONGEST):
                    await story(simulation)
            finally:
                await simulation.xenstore.close()
            assert embedded.store.tree.faults() == []

    with tempfile.TemporaryDirectory(prefix="lamp-") as folder:
        virtual.run(main(Path(folder)), seed=seed)


async def begin(host: Simulation, *names: str) -> None:
    """Start these and let them come up."""
    assert set((await host.up(names)).values()) == {Outcome.STARTED}
