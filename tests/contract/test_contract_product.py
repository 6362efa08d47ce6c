"""The whole product on a host: definitions, plan, run, outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine.plan import plan_down, plan_up
from lamplighter.model.run import Outcome
from lamplighter.service.run.runner import Runner
from tests.contract.under_test import Heard

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Run
    from lamplighter.service.managed_host import Host
    from tests.contract.conftest import Story
    from tests.contract.under_test import UnderTest

    OnHost = Callable[[Story], None]


async def carried_out(product: Host, plan: Plan) -> tuple[Run, dict[str, Outcome]]:
    """Run a plan; the outcomes of what it touched, by name."""
    heard = Heard()
    run = await Runner(product, heard).run(plan)
    assert list(run.results) == sorted(heard.results, key=lambda result: result.name)
    return run, {result.name: result.outcome for result in run.results}


def test_up_and_down_show_how_each_domain_really_ended(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        names = {f"contract-{name}" for name in ("web", "stuck")}
        web = host.define("web", "prompt", on_xend_start="start")
        stuck = host.define("stuck", "hangs", on_xend_start="start")
        product = host.product(
            '[defaults]\nstop_timeout = "90s"\n[domain.contract-stuck]\nstop_timeout = "8s"\n'
        )
        guests = [(web.name, web.uuid), (stuck.name, stuck.uuid)]

        plan = plan_up(product.inventory, await host.toolstack.list())
        up, outcomes = await carried_out(product, plan)
        assert outcomes == dict.fromkeys(names, Outcome.STARTED)
        assert up.exit == 0

        listed = [seen for seen in await host.toolstack.list() if seen.name in names]
        assert sorted((seen.name, seen.uuid) for seen in listed) == sorted(guests)
        plan = plan_up(product.inventory, await host.toolstack.list())
        again, outcomes = await carried_out(product, plan)
        assert outcomes == dict.fromkeys(names, Outcome.ALREADY)
        assert again.exit == 0
        assert {result.domid for result in again.results} == {seen.domid for seen in listed}

        await host.until_user_space(web)
        await host.until_user_space(stuck)
        plan = plan_down(product.inventory, await host.toolstack.list(), names)
        down, outcomes = await carried_out(product, plan)
        assert outcomes == {web.name: Outcome.CLEAN, stuck.name: Outcome.FORCED}
        assert down.exit == 1
        took = {result.name: result.seconds for result in down.results}
        assert took[web.name] < took[stuck.name]
        assert took[stuck.name] >= 8
        assert await host.is_gone(web)
        assert await host.is_gone(stuck)

    on_host(story)
