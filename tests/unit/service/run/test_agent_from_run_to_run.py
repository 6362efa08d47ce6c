"""A run that goes on where another was interrupted or killed, and what the guest was told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lamplighter.engine.plan import Past, plan_down
from lamplighter.formats import agent_protocol
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Outcome
from tests.simulated import CLOCK, simulate
from tests.unit.service.run.test_agent_in_a_run import (
    POLICY,
    Guest,
    begin,
    being_stopped,
    with_agent,
)

if TYPE_CHECKING:
    from tests.simulated import Simulation


def test_a_run_that_continues_another_reads_the_report_again() -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "db", "hangs")
        stop = begin(host.down())
        await CLOCK.sleep(2.0)
        host.runner.interrupt("told to end")
        await stop
        guest.say("progress", agent_protocol.encode_progress("stopping postgresql", 40))
        await host.down()
        assert host.result("db").note.endswith('its last report: "stopping postgresql, 40 %"')
        assert any(move.after is Phase.FORCING for move in host.heard.transitions)

    simulate(story, policy=POLICY)


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_goes_on_for_another_keeps_what_was_granted(*, killed: bool) -> None:
    async def story(host: Simulation) -> None:
        # Its script takes longer than stop_timeout allows, and asks for what it needs.
        own = {"embedded_agent": "yes", "embedded_script": "38s", "embedded_more": "20s"}
        host.define("db", **own)
        await host.up()
        guest = Guest(host, "db")
        stop = begin(host.down())
        await CLOCK.sleep(5.0)
        before = guest.hear("asked")
        assert guest.hear("answer") in {b"1 granted 49", b"1 granted 50"}
        if killed:
            stop.cancel()
            await asyncio.wait([stop])
            left = Past(resume_points={"db": host.heard.transitions[-1]})
            product = host.product()
            plan = plan_down(product.inventory, host.embedded.xl.list(), (), past=left)
            stop = begin(host.carry_out(product, plan))
        else:
            host.runner.interrupt("the host's stop")
            await stop
            stop = begin(host.down())
        await CLOCK.sleep(2.0)
        assert before is not None
        number = int(before.split()[-1]) + 1
        assert guest.hear("granted") == b"20"
        assert guest.hear("asked") in {b"poweroff %d %d" % (left, number) for left in (49, 50)}
        told = [move.detail for move in host.heard.transitions]
        assert any(detail.startswith("20s that a run before granted, ") for detail in told)
        await stop
        assert host.result("db").outcome is Outcome.CLEAN
        assert not host.truth.destroyed

    simulate(story, policy=POLICY)


def test_a_run_that_goes_on_for_another_grants_nothing_twice() -> None:
    async def story(host: Simulation) -> None:
        guest, stop = await being_stopped(host)
        for question, in_all in ((b"k0 12", b"12"), (b"k1 8 flushing", b"20")):
            guest.say("more", question)
            await CLOCK.sleep(2.0)
            assert guest.hear("granted") == in_all
        granted = guest.hear("answer")
        assert granted is not None
        assert granted.startswith(b"k1 granted")
        host.runner.interrupt("the test")
        await stop
        stop = begin(host.down())
        await CLOCK.sleep(3.0)
        assert guest.hear("answer") == granted
        guest.say("more", b"k2 1 flushing")
        await CLOCK.sleep(2.0)
        assert (
            guest.hear("answer") == b"k2 refused extend_max is 20 s and all of it has been granted"
        )
        await stop
        assert 50 <= host.result("db").seconds < 52

    simulate(story, policy=POLICY)
