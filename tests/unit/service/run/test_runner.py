"""Runs on a simulated host: guests of every behaviour, many interleavings."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.engine import timing
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Outcome
from lamplighter.xenstore import paths
from tests import simulated
from tests.simulated import CLOCK, simulate

if TYPE_CHECKING:
    from tests.simulated import Simulation

POLICY = f"""{simulated.POLICY}
[domain.deaf]
stop_timeout = "18s"
"""

#: The domains of the mixed host: behaviour, further keys, outcome of a stop, and its most seconds.
MIXED: dict[str, tuple[str, dict[str, str | int], Outcome, float]] = {
    "prompt": ("prompt", {}, Outcome.CLEAN, 5),
    "slow": ("slow", {}, Outcome.CLEAN, 18),
    "deaf": ("deaf", {}, Outcome.FORCED, 19),
    "hangs": ("hangs", {}, Outcome.FORCED, 13),
    "reboots": ("reboots", {}, Outcome.CLEAN, 12),
    "crashes": ("crashes", {}, Outcome.FAILED, 25),
    "noisy": ("noisy", {"embedded_every": "500ms"}, Outcome.CLEAN, 15),
    "windows": ("no-drivers", {"type": "hvm"}, Outcome.CLEAN, 15),
    "lingers": ("prompt", {"embedded_linger": "4s"}, Outcome.CLEAN, 10),
}


@pytest.mark.parametrize("seed", range(20))
def test_each_guest_ends_as_its_behaviour_says_in_its_own_time(seed: int) -> None:
    async def story(host: Simulation) -> None:
        for name, (behaviour, keys, _, _) in MIXED.items():
            host.define(name, behaviour, **keys)
        assert set((await host.up()).values()) == {Outcome.STARTED}
        began = CLOCK.monotonic()

        outcomes = await host.down()

        assert outcomes == {name: outcome for name, (_, _, outcome, _) in MIXED.items()}
        for name, (_, _, _, most) in MIXED.items():
            assert host.heard.settled_at[name] - began <= most, name
            assert host.result(name).seconds <= most, name
        assert host.run.exit == 1
        assert host.running() == {}
        assert host.embedded.store.tree.paths_of(3) == set()

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", range(20))
def test_a_stop_while_everything_still_boots(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("ignores", "ignores-while-booting", embedded_boot="8s")
        host.define("prompt", embedded_boot="6s")
        host.define("reboots", "reboots", embedded_boot="4s")
        for name in ("ignores", "prompt", "reboots"):
            await host.toolstack.create(host.definition(name))
        await CLOCK.sleep(seed / 4)
        assert set((await host.down()).values()) == {Outcome.CLEAN}
        assert host.running() == {}
        assert not host.truth.cut

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", range(10))
def test_guests_that_power_off_and_crash_by_themselves_meanwhile(seed: int) -> None:
    async def story(host: Simulation) -> None:
        host.define("quits", "quits", embedded_after=f"{1 + seed / 5:g}s")
        host.define("crashes", "crashes", embedded_after=f"{1 + seed / 5:g}s")
        host.define("restarts", "crashes", embedded_after="3s", on_crash="restart")
        await host.up()
        outcomes = await host.down()
        assert outcomes.get("quits", Outcome.CLEAN) in {Outcome.CLEAN, Outcome.ALREADY}
        assert outcomes.get("crashes", Outcome.FAILED) is Outcome.FAILED
        assert host.running() == {}

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", range(5))
def test_a_second_up_finds_all_of_it_up(seed: int) -> None:
    async def story(host: Simulation) -> None:
        names = [host.define(f"web-{number}") for number in range(6)]
        assert await host.up() == dict.fromkeys(names, Outcome.STARTED)
        domids = host.running()
        assert await host.up() == dict.fromkeys(names, Outcome.ALREADY)
        assert host.run.exit == 0
        assert host.running() == domids

    simulate(story, seed=seed)


def test_a_guest_that_never_advertises_itself_counts_as_started_with_a_note() -> None:
    async def story(host: Simulation) -> None:
        host.define("deaf", "deaf")
        began = CLOCK.monotonic()
        assert await host.up() == {"deaf": Outcome.STARTED}
        assert 20 <= CLOCK.monotonic() - began < 22
        assert "did not advertise itself" in host.result("deaf").note

    simulate(story, policy=POLICY)


def test_a_domain_that_nobody_reaps_is_reaped() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        host.define("other", "slow")
        await host.up()
        for domid in host.running().values():
            host.embedded.xl.kill_reaper(domid)
        outcomes = await host.down()
        assert outcomes == {"web": Outcome.CLEAN, "other": Outcome.CLEAN}
        assert "nobody reaped it" in host.result("web").note
        assert host.embedded.xl.list()[1:] == []

    simulate(story)


def test_what_had_ended_before_the_run_is_taken_away_and_was_already_down() -> None:
    async def story(host: Simulation) -> None:
        host.define("kept", "quits", embedded_after="1s", on_poweroff="preserve")
        await host.up()
        await CLOCK.sleep(10)
        assert [seen.running for seen in host.embedded.xl.list()] == [True, False]
        assert await host.down() == {"kept": Outcome.ALREADY}
        assert host.embedded.xl.list()[1:] == []

    simulate(story)


def test_policies_leave_and_destroy() -> None:
    async def story(host: Simulation) -> None:
        host.define("stays", on_xend_stop="ignore")
        host.define("goes", "hangs")
        await host.up()
        assert await host.down() == {"stays": Outcome.SKIPPED, "goes": Outcome.FORCED}
        assert host.run.exit == 0, "a destroy that policy asks for is good"
        assert list(host.running()) == ["stays"]

    simulate(story, policy='[domain.goes]\nstop = "destroy"\n')


def test_a_table_counts_for_a_domain_that_only_runs() -> None:
    async def story(host: Simulation) -> None:
        host.define("by-hand")
        host.define("unknown")
        await host.up()
        for path in host._folder.glob("*.cfg"):
            path.unlink()
        outcomes = await host.down()
        assert outcomes == {"by-hand": Outcome.SKIPPED, "unknown": Outcome.CLEAN}

    simulate(story, policy='[domain.by-hand]\nstop = "leave"\n')


@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_domains_at_once(seed: int) -> None:
    async def story(host: Simulation) -> None:
        names = [host.define(f"web-{number:03}") for number in range(300)]
        definitions = host.product().inventory.domains
        await asyncio.gather(*(host.toolstack.create(definitions[n].definition) for n in names))
        await CLOCK.sleep(5)
        began = CLOCK.monotonic()
        assert await host.down() == dict.fromkeys(names, Outcome.CLEAN)
        assert CLOCK.monotonic() - began < 4, "they stop side by side"
        assert host.running() == {}
        # A thousand things happen, but listings follow one another and are shared by all.
        assert len(host.toolstack.listed_at) <= 60

    simulate(story, seed=seed)


def test_no_listing_is_made_while_nothing_happens_but_the_one_every_five_seconds() -> None:
    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        await host.up()
        await host.down()
        moments = host.toolstack.listed_at
        gaps = [after - before for before, after in pairwise(moments)]
        assert max(gaps) <= timing.LISTING_INTERVAL + 0.1, "never longer unseen than this"
        assert len(moments) <= 60 / timing.LISTING_INTERVAL + 6, "and no oftener without a reason"

    simulate(story, policy='[domain.hangs]\nstop_timeout = "60s"\n')


def test_what_is_done_is_reported_in_order() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        phases = [transition.after for transition in host.heard.transitions]
        assert phases == [Phase.CREATING, Phase.BOOTING, Phase.UP]
        await host.down()
        phases = [transition.after for transition in host.heard.transitions]
        assert phases == [Phase.ASKED, Phase.ACKNOWLEDGED, Phase.ENDED]
        assert {transition.domid for transition in host.heard.transitions} == {1}

    simulate(story)


def test_a_domain_that_is_created_again_when_it_powers_off_is_never_called_clean() -> None:
    async def story(host: Simulation) -> None:
        host.define("phoenix", on_poweroff="restart")
        await host.up()
        assert await host.down() == {"phoenix": Outcome.FORCED}
        await CLOCK.sleep(60)
        assert host.running() == {}

    simulate(story, policy=POLICY)


def test_a_domain_between_two_incarnations_at_the_first_look_is_stopped_all_the_same() -> None:
    async def story(host: Simulation) -> None:
        host.define("slow", "slow")
        host.define("web")
        await host.up()
        domid = host.running()["web"]
        await host.xenstore.write(paths.control_shutdown(domid), b"reboot")
        while len(host.embedded.xl.list()) == 3:
            await CLOCK.sleep(0.1)
        assert await host.down() == {"slow": Outcome.CLEAN, "web": Outcome.CLEAN}
        assert "was not there when the others were asked" in host.result("web").note
        assert host.running() == {}

    simulate(story, policy=POLICY)


def test_what_could_not_be_stopped_is_not_tried_again_at_the_end() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        host.embedded.faults.set("destroy", Fault(How.FAIL), 1000)
        host.embedded.faults.set("list", Fault(How.FAIL), 1000)
        assert await host.down() == {"web": Outcome.UNKNOWN}
        assert len(host.run.results) == 1

    simulate(story, policy=POLICY)
