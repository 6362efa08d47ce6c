"""What is looked at before a plan is made, on a simulated host."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from lamplighter.engine import timing
from lamplighter.errors import XenStoreUnreachable
from lamplighter.model.plan import Verb
from lamplighter.model.record import NO_RECORD
from lamplighter.model.run import Direction, Outcome
from lamplighter.service import status
from lamplighter.service.run.prepare import make_plan, prepare
from lamplighter.xenstore import paths
from tests.simulated import CLOCK, never, simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from lamplighter.model.plan import Plan
    from lamplighter.service.managed_host import Host
    from tests.simulated import Simulation


def test_a_plan_to_stop_outlives_a_lost_connection_to_xenstore() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        gone = asyncio.create_task(host.embedded.xenstore.interrupt(1.0))
        await CLOCK.sleep(0.1)
        (step,) = (await make_plan(host.product(), Direction.DOWN, (), NO_RECORD)).steps
        assert (step.name, step.verb) == ("web", Verb.STOP)
        await gone

    simulate(story)


def test_a_stub_domain_is_a_part_of_its_guest_and_no_step() -> None:
    async def story(host: Simulation) -> None:
        for name in ("web", "web-dm", "other-dm"):
            host.define(name)
        await host.up()
        domids = host.running()
        await host.xenstore.write(paths.target(domids["web-dm"]), b"%d" % domids["web"])
        plan = await make_plan(host.product(), Direction.DOWN, (), NO_RECORD)
        assert [step.name for step in plan.steps] == ["other-dm", "web"]

    simulate(story)


@pytest.mark.parametrize("planned", [make_plan, prepare])
def test_no_plan_waits_for_a_xenstore_that_hangs(
    planned: Callable[..., Awaitable[Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        monkeypatch.setattr(host.xenstore, "read_or_none", never)
        began = CLOCK.monotonic()
        record = (NO_RECORD,) if planned is make_plan else ()
        with pytest.raises(XenStoreUnreachable, match="has not answered for 10 s"):
            await planned(host.product(), Direction.DOWN, (), *record)
        assert CLOCK.monotonic() - began <= 2 * timing.XENSTORE_TIME

    simulate(story)


def test_status_does_not_wait_for_a_xenstore_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        product = host.product()

        @asynccontextmanager
        async def opened(_: object) -> AsyncIterator[Host]:
            yield product

        monkeypatch.setattr(status, "open_host", opened)
        monkeypatch.setattr(host.xenstore, "read_or_none", never)
        began = CLOCK.monotonic()
        snapshot = await status.gather(product.configuration)
        assert isinstance(snapshot.error, XenStoreUnreachable)
        assert snapshot.view.domains is None
        assert CLOCK.monotonic() - began <= 2 * timing.XENSTORE_TIME

    simulate(story)


def test_a_named_domain_between_two_incarnations_is_not_called_down() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("other")
        await host.up()
        domid = host.running()["web"]
        await host.xenstore.write(paths.control_shutdown(domid), b"reboot")
        await CLOCK.sleep(2)
        assert list(host.running()) == ["other"]

        plan = await prepare(host.product(), Direction.DOWN, ["web"])

        (step,) = plan.steps
        assert (step.name, step.verb) == ("web", Verb.STOP)
        assert step.info is not None
        assert step.info.domid == host.running()["web"] != domid
        assert await host.carry_out(host.product(), plan) == {"web": Outcome.CLEAN}
        assert list(host.running()) == ["other"]

    simulate(story)
