"""A guest that writes without end costs a bounded number of readings, and the others nothing."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING

import pytest

from lamplighter.engine.status import status_rows
from lamplighter.errors import XenStoreError
from lamplighter.formats import agent_protocol
from lamplighter.model.run import Outcome
from lamplighter.service import status
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.service.guests.reader import FLOOD, READING_INTERVAL, GuestReader
from lamplighter.service.run.mailbox import Mailbox
from lamplighter.service.run.progress import SHOWING_INTERVAL, Throttle
from lamplighter.xenstore import paths
from tests.simulated import CLOCK, simulate
from tests.unit.service.run.test_agent_in_a_run import (
    POLICY,
    Guest,
    begin,
    being_stopped,
    count_reads,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lamplighter.engine.events import Event
    from lamplighter.service.managed_host import Host
    from tests.simulated import Simulation


async def flood(guest: Guest, seconds: float) -> None:
    """Write 2,000 updates a second into the nodes that the host looks at."""
    nodes = ("control/shutdown", "control/feature-poweroff", paths.AGENT, f"{paths.AGENT}/new")
    nodes += tuple(f"{paths.AGENT}/{name}" for name in (*agent_protocol.GUEST_NODES, "asked"))
    chance, end = random.Random(1), CLOCK.monotonic() + seconds
    while CLOCK.monotonic() < end:
        for _ in range(10):
            with suppress(XenStoreError):
                node = chance.choice(nodes)
                value = chance.randbytes(chance.choice([0, 8, 2000]))
                guest.write(node, b"1 0.2.0" if node.endswith("version") else value)
        await CLOCK.sleep(0.005)


def test_a_flood_costs_a_bounded_number_of_readings_and_the_others_nothing() -> None:
    async def story(host: Simulation) -> None:
        host.define("flood", "hangs")
        others = [host.define(f"web-{number}") for number in range(9)]
        await host.up()
        guest = Guest(host, "flood")
        read = count_reads(host)
        began = CLOCK.monotonic()
        flooding = begin(flood(guest, 62.0))
        outcomes = await host.down()
        await flooding
        assert outcomes == {"flood": Outcome.FORCED, **dict.fromkeys(others, Outcome.CLEAN)}
        assert max(host.heard.settled_at[name] for name in others) - began < 3
        assert host.result("flood").seconds < 62
        mine = [path for path in read if path.startswith(f"{paths.domain(guest.domid)}/")]
        # A reading looks at eight nodes at the most, an asking at ten times one.
        assert len(mine) < 60 * (8 / READING_INTERVAL + 10)
        assert len(mine) > 60, "it is still looked at"

    policy = POLICY.replace('stop_timeout = "30s"', 'stop_timeout = "60s"')
    simulate(story, policy=policy)


def test_a_guest_is_listened_to_until_it_floods_and_then_only_looked_at() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        guest = Guest(host, "web")
        channel, stirs = GuestChannel(host.xenstore, guest.domid), []
        attention = GuestReader(channel, CLOCK, lambda: stirs.append(CLOCK.monotonic()))
        await attention.read(60.0)
        for number in range(5 * FLOOD // 2):
            guest.say("progress", b"- %d" % number)
            await CLOCK.sleep(2 / FLOOD)
            if CLOCK.monotonic() >= attention.due:
                await attention.read(60.0)
        assert not attention.flooded, "that is much, and no flood"
        assert channel.listening
        for number in range(2 * FLOOD):
            guest.say("progress", b"- %d" % number)
        await CLOCK.sleep(0.1)
        assert attention.flooded
        assert attention.due <= CLOCK.monotonic()
        await attention.read(60.0)
        assert not channel.listening
        assert attention.due == CLOCK.monotonic() + READING_INTERVAL
        heard = len(stirs)
        guest.say("progress", b"- more")
        await CLOCK.sleep(0.1)
        assert len(stirs) == heard
        assert not attention.is_due(ends=False)
        assert attention.is_due(ends=True)
        await attention.leave()

    simulate(story)


def test_an_agents_last_report_is_read_even_if_no_watch_fired() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        guest = Guest(host, "web")
        for agent in (False, True):
            if agent:
                guest.say("version", agent_protocol.encode_version("0.2.0"))
            attention = GuestReader(GuestChannel(host.xenstore, guest.domid), CLOCK, lambda: None)
            await attention.read(60.0)
            await CLOCK.sleep(1)  # the watches fire when they are set
            await attention.read(60.0)
            assert attention.due == inf
            assert not attention.is_due(ends=False)
            assert attention.is_due(ends=True) is agent, "an event may have been lost"
            await attention.leave()

    simulate(story)


def test_that_a_guest_forces_its_end_is_read_without_a_pause_and_only_once() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        guest, stirs = Guest(host, "web"), list[float]()
        channel = GuestChannel(host.xenstore, guest.domid)
        attention = GuestReader(channel, CLOCK, lambda: stirs.append(CLOCK.monotonic()))
        await attention.read(60.0)
        await CLOCK.sleep(1)
        for value, at_once in ((b"poweroff", True), (b"reboot", False)):
            await attention.read(60.0)
            read_at = CLOCK.monotonic()
            guest.say("progress", b"- stopping")
            await CLOCK.sleep(0.01)
            assert attention.due > CLOCK.monotonic()
            told = len(stirs)
            guest.say("forced", value)
            await CLOCK.sleep(0.01)
            assert (attention.due <= CLOCK.monotonic()) is at_once
            assert (len(stirs) > told) is at_once
            assert CLOCK.monotonic() < read_at + 0.1
        await attention.leave()

    simulate(story)


def test_reports_are_shown_when_they_change_and_not_too_often() -> None:
    async def story(_: Simulation) -> None:
        told: list[str] = []
        telling = Throttle(CLOCK, told.append)

        def hear(text: str) -> None:
            telling.update(agent_protocol.AgentStatus("1", progress=agent_protocol.Progress(text)))

        hear("a")
        assert told == ["a"]
        hear("a")
        assert telling.due > CLOCK.monotonic() + 1000
        hear("b")
        hear("c")
        assert told == ["a"]
        assert telling.due == CLOCK.monotonic() + SHOWING_INTERVAL
        await CLOCK.sleep(SHOWING_INTERVAL)
        telling.show_due()
        assert told == ["a", "c"]
        hear("")
        telling.show_due()
        assert told == ["a", "c"]

    simulate(story)


def test_status_reads_the_reports_of_those_that_run() -> None:
    async def story(host: Simulation) -> None:
        for name in ("db", "web", "evil"):
            host.define(name)
        await host.up()
        guest, evil = Guest(host, "db"), Guest(host, "evil")
        guest.say("version", agent_protocol.encode_version("0.2.0"))
        guest.say("ready", agent_protocol.encode_ready(ready=False, waits_for="10-database"))
        guest.say("more", b"\xff" * 3000)
        evil.say("version", b"1 " + b"9" * 3000)
        product = host.product()

        @asynccontextmanager
        async def opened(_: object) -> AsyncIterator[Host]:
            yield product

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(status, "open_host", opened)
            snapshot = await status.gather(product.configuration)
        assert snapshot.view.not_advertised == set()
        told = agent_protocol.AgentStatus(
            "0.2.0", ready=False, waits_for="10-database", garbled=("more",)
        )
        assert snapshot.view.reports == {guest.domid: told}
        rows = status_rows(snapshot.inventory, snapshot.view, {})
        assert {row.name: row.guest for row in rows} == {"db": told, "evil": None, "web": None}

    simulate(story)


def test_a_guest_that_forces_its_end_and_asks_for_more_costs_no_turns() -> None:
    waits = 0

    async def story(host: Simulation) -> None:
        nonlocal waits
        guest, stop = await being_stopped(host)
        guest.say("forced", b"poweroff it says")
        guest.say("more", b"k1 10 it says")
        waits = 0
        await stop
        assert host.result("db").outcome is Outcome.FORCED

    wait = Mailbox.wait

    async def counted(mailbox: Mailbox, until: float) -> list[Event]:
        nonlocal waits
        waits += 1
        assert waits < 200, "it spins"
        return await wait(mailbox, until)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mailbox, "wait", counted)
        simulate(story, policy=POLICY)
