"""Runs that are told to end: nothing new begins, and what is known is told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.engine.plan import plan_down
from lamplighter.errors import CallNotStarted
from lamplighter.model.run import Outcome, Result
from tests.simulated import CLOCK, POLICY, begin, simulate

if TYPE_CHECKING:
    from lamplighter.model.domain import Definition
    from lamplighter.model.plan import Plan
    from tests.simulated import Simulation

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_interrupted_start_begins_nothing_new(seed: int) -> None:
    async def story(host: Simulation) -> None:
        names = [host.define(f"web-{number}", embedded_boot="5s") for number in range(8)]

        async def trouble() -> None:
            await CLOCK.sleep(0.01 + seed * 0.02)
            host.runner.interrupt("enough")

        troubling = asyncio.create_task(trouble())
        outcomes = await host.up()
        await troubling
        there = set(host.running())
        assert {name for name in names if outcomes[name] is Outcome.STARTED} == there
        assert {name for name in names if outcomes[name] is Outcome.SKIPPED} == set(names) - there
        assert len(there) < len(names)
        assert host.run.exit == 1

    simulate(story, seed=seed, policy="parallel_starts = 2\n")


def test_a_creation_that_waits_for_the_end_of_its_own_run_is_given_up() -> None:
    """As ``xl create`` does for its scope while systemd stops our unit."""

    async def story(host: Simulation) -> None:
        host.define("web")

        async def waits(_: Definition, *, ending: asyncio.Event) -> None:
            await ending.wait()
            raise CallNotStarted("not begun")

        host.toolstack.create = waits  # type: ignore[method-assign]
        asyncio.get_running_loop().call_later(5, lambda: host.runner.interrupt("enough"))
        began = CLOCK.monotonic()
        assert await host.up() == {"web": Outcome.SKIPPED}
        assert CLOCK.monotonic() - began < 6

    simulate(story)


@pytest.mark.parametrize("when", [0.0, 0.05, 2.0])
def test_an_interrupted_stop_says_what_is_not_known(when: float) -> None:
    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        await begin(host)
        product = host.product()
        plan = await host.look(product)

        async def trouble() -> None:
            await CLOCK.sleep(when)
            host.runner.interrupt("enough")

        troubling = asyncio.create_task(trouble())
        began = CLOCK.monotonic()
        outcomes = await host.carry_out(product, plan, partial(host.look, product))
        assert outcomes == {"hangs": Outcome.UNKNOWN}
        await troubling
        assert CLOCK.monotonic() - began < when + 1
        assert "enough" in host.result("hangs").note
        assert any(line.startswith("enough") for line in host.heard.messages)

    simulate(story, policy=POLICY)


def test_what_is_being_recorded_when_all_is_dropped_is_recorded() -> None:
    recorded: list[str] = []

    class SlowJournal:
        async def begin(self, *_: object) -> int:
            return 1

        async def record(self, *_: object) -> None:
            return None

        async def settle(self, _run: int, result: Result, _at: object) -> None:
            await CLOCK.sleep(1.0)
            recorded.append(result.name)

        async def finish(self, *_: object) -> None:
            recorded.append("the end")

    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        await begin(host)
        host.journal = SlowJournal()  # type: ignore[assignment]

        async def trouble() -> None:
            await CLOCK.sleep(0.5)
            host.runner.interrupt("enough")
            await CLOCK.sleep(0.5)
            host.runner.interrupt("enough")

        troubling = asyncio.create_task(trouble())
        assert await host.down() == {"hangs": Outcome.UNKNOWN}
        await troubling
        assert recorded == ["hangs", "the end"]

    simulate(story, policy=POLICY)


def test_an_interruption_before_the_first_worker_counts_too() -> None:
    class SlowJournal:
        async def begin(self, *_: object) -> int:
            await CLOCK.sleep(1.0)
            return 0

    async def story(host: Simulation) -> None:
        host.define("web")
        host.journal = SlowJournal()  # type: ignore[assignment]

        async def trouble() -> None:
            await CLOCK.sleep(0.5)
            host.runner.interrupt("enough")

        troubling = asyncio.create_task(trouble())
        assert await host.up() == {"web": Outcome.SKIPPED}
        await troubling
        assert host.running() == {}

    simulate(story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_interruption_drops_what_hangs(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("stuck")
        host.define("web")
        host.embedded.faults.set("create", Fault(How.HANG), 1)

        async def trouble() -> None:
            await CLOCK.sleep(5)
            host.runner.interrupt("enough")
            await CLOCK.sleep(5)
            host.runner.interrupt("really")

        troubling = asyncio.create_task(trouble())
        began = CLOCK.monotonic()
        outcomes = await host.up()
        await troubling
        assert sorted(outcome.value for outcome in outcomes.values()) == ["started", "unknown"]
        assert CLOCK.monotonic() - began < 11

    simulate(story, seed=seed)


@pytest.mark.parametrize("when", ["waiting", "acting"])
def test_an_interrupted_stop_looks_for_nothing_more(when: str) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        late = host.define("late")

        product = host.product()

        async def relist() -> Plan:
            host.runner.interrupt("enough")
            if when == "waiting":
                await CLOCK.sleep(1000)
            return plan_down(product.inventory, host.embedded.xl.list())

        plan = plan_down(product.inventory, host.embedded.xl.list(), ["web"])
        await host.toolstack.create(host.definition(late))
        began = CLOCK.monotonic()
        assert await host.carry_out(product, plan, relist) == {"web": Outcome.CLEAN}
        assert CLOCK.monotonic() - began < 100
        assert host.heard.messages[-1].endswith("could not be listed again: enough")
        assert late in host.running()

    simulate(story, policy=POLICY)
