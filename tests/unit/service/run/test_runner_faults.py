"""Runs on a simulated host where things fail: nobody is believed off, and the others go on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.engine import timing
from lamplighter.engine.plan import plan_down
from lamplighter.errors import CallFailed, JournalError, XenStoreError
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.run import Outcome
from lamplighter.xenstore import paths
from tests.simulated import CLOCK, POLICY, begin, never, simulate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.model.domain import DomainInfo
    from tests.simulated import Simulation

SEEDS = range(8)


# --- the toolstack ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", [How.FAIL, How.HANG, How.SLOW])
@pytest.mark.parametrize("seed", SEEDS)
def test_listings_that_fail_or_hang_are_no_end(seed: int, how: How) -> None:
    async def story(host: Simulation) -> None:
        host.define("slow", "slow")
        host.define("web")
        await begin(host)
        host.embedded.faults.set("list", Fault(how, 6.0), 1 + seed % 3)
        assert await host.down() == {"slow": Outcome.CLEAN, "web": Outcome.CLEAN}
        assert host.running() == {}

    simulate(story, seed=seed, policy=POLICY, call_timeout=8.0)


def test_a_toolstack_that_never_lists_again_makes_every_end_unknown() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        host.embedded.faults.set("list", Fault(How.FAIL), 10_000)
        assert await host.down() == {"web": Outcome.UNKNOWN}
        assert host.run.exit == 1
        assert "list failed" in host.result("web").note

    simulate(story, policy=POLICY)


def test_a_defect_in_one_listing_does_not_end_all_listings() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("slow", "slow")
        await begin(host)
        works = host.toolstack.list

        async def broken() -> list[DomainInfo]:
            host.toolstack.list = works  # type: ignore[method-assign]
            raise RuntimeError("nobody thought of this")

        host.toolstack.list = broken  # type: ignore[method-assign]
        assert await host.down() == {"slow": Outcome.CLEAN, "web": Outcome.CLEAN}
        assert sum("nobody thought of this" in told for told in host.heard.messages) == 1

    simulate(story, policy=POLICY)


@pytest.mark.parametrize("how", [How.FAIL, How.HANG])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_create_that_fails_or_hangs_is_one_domains_affair(seed: int, how: How) -> None:
    async def story(host: Simulation) -> None:
        for name in ("a", "b", "c"):
            host.define(name)
        host.embedded.faults.set("create", Fault(how), 1)
        outcomes = await host.up()
        failed = [name for name, outcome in outcomes.items() if outcome is Outcome.FAILED]
        assert len(failed) == 1
        assert list(outcomes.values()).count(Outcome.STARTED) == 2
        assert failed[0] not in host.running()

    simulate(story, seed=seed, policy=POLICY, call_timeout=10.0)


def test_a_create_that_works_although_its_call_failed_is_seen() -> None:
    async def story(host: Simulation) -> None:
        host.define("late")
        host.embedded.faults.set("create", Fault(How.SLOW, 4.0), 1)
        host.embedded.faults.set("list", Fault(How.SLOW, 2.0), 2)
        assert await host.up() == {"late": Outcome.STARTED}
        assert "late" in host.running()

    simulate(story, policy=POLICY, call_timeout=3.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_destroy_that_fails_is_tried_again(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        await begin(host)
        host.embedded.faults.set("destroy", Fault(How.FAIL), 2)
        assert await host.down() == {"hangs": Outcome.FORCED}
        assert host.running() == {}

    simulate(story, seed=seed, policy=POLICY)


def test_a_domain_that_cannot_be_destroyed_has_failed_and_runs_on() -> None:
    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        host.define("web")
        await begin(host)
        host.embedded.faults.set("destroy", Fault(How.FAIL), 3)
        # web is reaped by xl itself, which needs no call
        assert await host.down() == {"hangs": Outcome.FAILED, "web": Outcome.CLEAN}
        assert "3 tries" in host.result("hangs").note
        assert list(host.running()) == ["hangs"]

    simulate(story, policy=POLICY)


def test_memory_too_short_for_one() -> None:
    async def story(host: Simulation) -> None:
        host.define("big", memory=4096)
        host.define("small")
        host.embedded.hypervisor.leave_free(512)
        assert await host.up() == {"big": Outcome.FAILED, "small": Outcome.STARTED}
        assert "memory" in host.result("big").note

    simulate(story, policy=POLICY)


# --- XenStore --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_xenstore_restarts_in_the_middle_of_a_stop(seed: int) -> None:
    async def story(host: Simulation) -> None:
        for name, guest in (("web", "prompt"), ("slow", "slow"), ("reboots", "reboots")):
            host.define(name, guest)
        host.define("hangs", "hangs")
        await begin(host)

        async def trouble() -> None:
            await CLOCK.sleep(seed / 5)
            await host.embedded.xenstore.interrupt(0.5 + seed / 4)

        troubling = asyncio.create_task(trouble())
        outcomes = await host.down()
        await troubling
        # One that comes up and goes while nobody can look may keep its secret.
        assert outcomes.pop("hangs") is Outcome.FORCED
        assert set(outcomes.values()) == {Outcome.CLEAN}
        assert host.running() == {}

    simulate(story, seed=seed, policy=POLICY)


def test_no_xenstore_for_a_whole_stop_ends_in_force_and_is_reported() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        gone = asyncio.create_task(host.embedded.xenstore.interrupt(300.0))
        assert await host.down() == {"web": Outcome.FORCED}
        assert "could not be asked" in host.result("web").note
        gone.cancel()

    simulate(story, policy=POLICY)


@pytest.mark.parametrize(("guest", "hangs"), [("deaf", "transact"), ("hangs", "read_or_none")])
def test_a_xenstore_that_answers_no_more_puts_nobody_s_end_off(
    guest: str, hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("stuck", guest, on_xend_start="start")
        await begin(host)
        transact, asked = host.xenstore.transact, 0

        async def first(body: Callable[[int], Awaitable[None]]) -> None:
            nonlocal asked
            await transact(body)
            asked += 1
            if asked == 2:  # both were asked to power off
                monkeypatch.setattr(host.xenstore, hangs, never)

        monkeypatch.setattr(host.xenstore, "transact", first)
        outcomes = await host.down()
        assert outcomes == {"web": Outcome.CLEAN, "stuck": Outcome.FORCED}
        late = host.result("stuck").seconds - 40
        assert 0 <= late <= timing.FINAL_LISTING

    simulate(story, policy=POLICY)


def test_a_xenstore_that_hangs_for_a_whole_stop_puts_its_end_off_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        product = host.product()
        plan = await host.look(product)

        for call in ("watch", "unwatch", "read", "read_or_none", "transact"):
            monkeypatch.setattr(host.xenstore, call, never)
        began = CLOCK.monotonic()
        late_look = partial(host.look, product)
        assert await host.carry_out(product, plan, late_look) == {"web": Outcome.FORCED}
        late = host.result("web").seconds - 40
        # What is said, what is read and the last look, each of which might have its own time.
        assert 0 <= late <= timing.XENSTORE_TIME + timing.FINAL_LISTING
        assert CLOCK.monotonic() - began <= 40 + late + 3 * timing.XENSTORE_TIME
        assert "XenStore has not answered" in "".join(host.heard.messages)

    simulate(story, policy=POLICY)


@pytest.mark.parametrize("call", ["watch", "unwatch"])
def test_a_run_ends_although_xenstore_takes_its_watches_for_ever(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)

        monkeypatch.setattr(host.xenstore, call, never)
        assert await host.down() == {"web": Outcome.CLEAN if call == "unwatch" else Outcome.FORCED}

    simulate(story, policy=POLICY)


def test_a_request_that_xenstore_refuses_does_not_end_the_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)

        async def refuse(path: str, fired: object) -> object:
            raise XenStoreError("E2BIG", "too many watches")

        monkeypatch.setattr(host.xenstore, "watch", refuse)
        outcomes = await host.down()
        assert outcomes == {"web": Outcome.CLEAN}

    simulate(story, policy=POLICY)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_noisy_guest_costs_little_and_obeys(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("noisy", "noisy", embedded_every="10ms")
        host.define("web")
        await begin(host)
        await CLOCK.sleep(0.05)
        read = host.embedded.store.tree.find(paths.control_shutdown(host.running()["noisy"]))
        assert read is not None
        assert len(read.value) > 4000
        outcomes = await host.down()
        assert outcomes["web"] is Outcome.CLEAN
        assert outcomes["noisy"] in {Outcome.CLEAN, Outcome.FORCED}
        assert host.result("web").seconds < 5

    simulate(story, seed=seed, policy=POLICY)


# --- domains that are not what they were -----------------------------------------------------


def test_a_domain_renamed_between_plan_and_action_is_followed_by_its_uuid() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("other", on_xend_stop="ignore")
        await begin(host)
        product = host.product()
        plan = plan_down(product.inventory, host.embedded.xl.list())
        domids = host.running()
        await host.xenstore.write(paths.name(domids["web"]), b"other-name")
        await host.xenstore.write(paths.name(domids["other"]), b"web")
        outcomes = await host.carry_out(product, plan)
        assert outcomes == {"web": Outcome.CLEAN, "other": Outcome.SKIPPED}
        assert list(host.running().values()) == [domids["other"]]

    simulate(story, policy=POLICY)


def test_a_domain_that_somebody_destroys_was_not_clean() -> None:
    async def story(host: Simulation) -> None:
        host.define("slow", "slow")
        await begin(host)

        async def trouble() -> None:
            await CLOCK.sleep(3)
            await host.embedded.xl.destroy(1)

        troubling = asyncio.create_task(trouble())
        (outcome,) = (await host.down()).values()
        await troubling
        assert outcome in {Outcome.FORCED, Outcome.UNKNOWN}
        assert host.run.exit == 1

    simulate(story, policy=POLICY)


def test_a_domain_that_vanished_before_the_first_look() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        product = host.product()
        plan = plan_down(product.inventory, host.embedded.xl.list())
        await host.toolstack.destroy(1)
        assert await host.carry_out(product, plan) == {"web": Outcome.UNKNOWN}

    simulate(story, policy=POLICY)


def test_a_domain_that_another_tool_suspends_has_not_been_shut_down() -> None:
    async def story(host: Simulation) -> None:
        host.define("slow", "slow")
        await begin(host)
        await host.xenstore.write(paths.control_shutdown(1), b"suspend")
        await CLOCK.sleep(1)
        assert host.embedded.xl.list()[1].shutdown is ShutdownReason.SUSPEND
        (outcome,) = (await host.down()).values()
        assert outcome is not Outcome.CLEAN
        away = host.product().intents.read().away(host.definition("slow"))
        assert away is not None, "its memory may have been saved"
        assert away.domid == 1

    simulate(story, policy=POLICY)


# --- what is left behind, and the journal -----------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_left_half_built_costs_a_stop_no_time(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("half")
        host.define("web")
        await begin(host, "web")
        host.embedded.faults.set("create", Fault(How.HALF), 1)
        with pytest.raises(CallFailed):
            await host.toolstack.create(host.definition("half"))
        began = CLOCK.monotonic()
        assert await host.down() == {"half": Outcome.ALREADY, "web": Outcome.CLEAN}
        assert CLOCK.monotonic() - began < 10
        assert host.result("half").note.startswith("half built and never run: destroyed")
        assert host.running() == {}

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_left_half_built_is_destroyed_and_created(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("half")
        host.embedded.faults.set("create", Fault(How.HALF), 1)
        with pytest.raises(CallFailed):
            await host.toolstack.create(host.definition("half"))
        (left,) = host.embedded.xl.list()[1:]
        assert left.never_ran
        assert await host.up() == {"half": Outcome.STARTED}
        (seen,) = host.embedded.xl.list()[1:]
        assert seen.running
        assert not seen.never_ran
        assert seen.domid > left.domid
        assert await host.up() == {"half": Outcome.ALREADY}

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_our_own_create_leaves_half_built_is_not_left(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("half")
        host.embedded.faults.set("create", Fault(How.HALF), 1)
        assert await host.up() == {"half": Outcome.FAILED}
        assert "half built was destroyed" in host.result("half").note
        assert host.embedded.xl.list()[1:] == []
        assert await host.up() == {"half": Outcome.STARTED}

    simulate(story, seed=seed, policy=POLICY)


class FailingJournal:
    """Takes so many records, then its disk is full."""

    def __init__(self, works: int) -> None:
        self._left = works
        self.kept: list[str] = []

    async def begin(self, *_: object) -> int:
        self._keep("begin")
        return 7

    async def record(self, *_: object) -> None:
        self._keep("record")

    async def settle(self, *_: object) -> None:
        self._keep("settle")

    async def finish(self, *_: object) -> None:
        self._keep("finish")

    def _keep(self, what: str) -> None:
        if not self._left:
            raise JournalError("no space left on device")
        self._left -= 1
        self.kept.append(what)


@pytest.mark.parametrize("works", range(6))
def test_a_journal_that_fails_stops_nothing_and_is_reported_once(works: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("hangs", "hangs")
        await begin(host)
        journal = FailingJournal(works)
        host.journal = journal  # type: ignore[assignment]
        assert await host.down() == {"web": Outcome.CLEAN, "hangs": Outcome.FORCED}
        assert len(journal.kept) == works
        lost = [message for message in host.heard.messages if "no space left" in message]
        assert lost == [host.run.lost]

    simulate(story, policy=POLICY)


def test_one_domain_of_the_same_uuid_twice_is_no_reason_to_destroy_the_other() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await begin(host)
        seen = host.embedded.xl.list()[1]
        assert seen.uuid == UUID("00000000-0000-4000-8000-000000000001")
        await host.down(["WEB".lower(), str(seen.uuid)])
        assert [result.name for result in host.run.results] == ["web"]

    simulate(story)
