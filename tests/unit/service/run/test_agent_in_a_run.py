"""What an agent in a guest says during a stop, written by the test in the guest's name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.errors import XenStoreError
from lamplighter.formats import agent_protocol
from lamplighter.formats.agent_protocol import Answer, Forced, TimeRequest
from lamplighter.model.run import Outcome
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.xenstore import paths
from tests.simulated import CLOCK, simulate

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lamplighter.embedded.xenstored.store import Session
    from tests.simulated import Simulation

POLICY = """
[defaults]
ack_timeout = "5s"
stop_timeout = "30s"
extend_max = "20s"
"""


class Guest:
    """What an agent in a guest would do, with the guest's rights."""

    def __init__(self, host: Simulation, name: str) -> None:
        self.domid = host.running()[name]
        self._session: Session = host.embedded.store.connect(self.domid, lambda _path, _token: None)

    def say(self, name: str, value: bytes) -> None:
        self._session.write(f"{paths.AGENT}/{name}", value)

    def hear(self, name: str) -> bytes | None:
        """Return what stands in one of the host's nodes."""
        try:
            return self._session.read(f"{paths.AGENT}/{name}")
        except XenStoreError:
            return None

    def write(self, path: str, value: bytes) -> None:
        self._session.write(path, value)

    def remove(self, path: str) -> None:
        self._session.rm(path)


def begin(story: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    return asyncio.create_task(story)


async def with_agent(host: Simulation, name: str, *behaviour: str, **keys: str) -> Guest:
    """A guest that runs and has an agent."""
    host.define(name, *behaviour, **keys)
    await host.up()
    guest = Guest(host, name)
    guest.say("version", agent_protocol.encode_version("0.2.0"))
    return guest


async def being_stopped(host: Simulation) -> tuple[Guest, asyncio.Task[object]]:
    """A guest with an agent that was asked, and hangs; and the run that stops it."""
    guest = await with_agent(host, "db", "hangs")
    stop = begin(host.down())
    await CLOCK.sleep(2.0)
    return guest, stop


def count_reads(host: Simulation) -> list[str]:
    """Return a list that grows by the path of everything that is read from now on."""
    read, paths_read = host.xenstore.read, list[str]()

    async def counted(path: str, tx: int = 0) -> bytes:
        paths_read.append(path)
        return await read(path, tx)

    host.xenstore.read = counted  # type: ignore[method-assign]
    return paths_read


@pytest.mark.parametrize("seed", range(5))
def test_a_guest_gets_its_deadline_and_is_read_to_its_end(seed: int) -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "db", "hangs")
        guest.say("ready", agent_protocol.encode_ready(ready=True))
        stop = begin(host.down())
        await CLOCK.sleep(2.0)
        asked = agent_protocol.parse_deadline_note(guest.hear("asked"))
        assert asked is not None
        assert (asked.request, asked.seconds) in {("poweroff", 29), ("poweroff", 30)}
        guest.say("progress", agent_protocol.encode_progress("stopping postgresql", 40))
        await CLOCK.sleep(1.0)
        guest.say("more", agent_protocol.encode_more(TimeRequest("k1", 10, "rolling back")))
        await CLOCK.sleep(2.0)
        answer = agent_protocol.parse_answer(guest.hear("answer"))
        assert answer is not None
        assert answer.left in {35, 36, 37}
        guest.say("more", agent_protocol.encode_more(TimeRequest("k2", 11)))
        await CLOCK.sleep(2.0)
        assert agent_protocol.parse_answer(guest.hear("answer")) == Answer(
            "k2", None, "extend_max is 20 s and 10 s of it are left: ask for no more than that"
        )
        await stop
        result = host.result("db")
        assert result.outcome is Outcome.FORCED
        assert 40 <= result.seconds < 42
        assert "within 40 s (10 s of them granted)" in result.note
        assert result.note.endswith('; its last report: "stopping postgresql, 40 %"')
        assert [text for _, text in host.heard.reported] == ["stopping postgresql, 40 %"]
        told = [move.detail for move in host.heard.transitions if move.before is move.after]
        assert len(told) == 2
        assert told[0].startswith("10s more granted, ")
        assert told[1].startswith("11s more refused, extend_max is 20 s")

    simulate(story, seed=seed, policy=POLICY)


@pytest.mark.parametrize("seed", range(10))
def test_a_report_of_the_last_moment_is_read(seed: int) -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "db", embedded_shutdown="10s")
        stop = begin(host.down())
        await CLOCK.sleep(9.8)
        guest.say("progress", agent_protocol.encode_progress("stopping"))
        await CLOCK.sleep(0.15)
        guest.say("forced", agent_protocol.encode_forced(Forced("poweroff", "not off after 9 s")))
        await stop
        result = host.result("db")
        assert (result.outcome, result.good) == (Outcome.FORCED, False)
        assert result.note.startswith('forced by the guest: "not off after 9 s"')
        assert not host.truth.destroyed

    simulate(story, seed=seed, policy=POLICY)


def test_a_guest_without_an_agent_is_told_nothing_and_costs_one_read() -> None:
    async def story(host: Simulation) -> None:
        host.define("web")
        await host.up()
        domid = host.running()["web"]
        guest = Guest(host, "web")
        guest.say("ready", b"1")
        guest.say("forced", b"poweroff it says so without a version")
        read = count_reads(host)
        channel = GuestChannel(host.xenstore, domid)
        assert await channel.report() is None
        assert read == [paths.agent_node(domid, "version")]
        stop = begin(host.down())
        await CLOCK.sleep(0.5)
        assert guest.hear("asked") is None
        await stop
        assert host.result("web").outcome is Outcome.CLEAN
        assert host.result("web").note == ""
        assert not host.heard.reported
        assert not [path for path in read if path.startswith(paths.agent_node(domid, "r"))]

    simulate(story, policy=POLICY)


def test_the_note_goes_with_the_request_that_is_taken_back() -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "deaf", "deaf")
        channel = GuestChannel(host.xenstore, guest.domid)
        await channel.ask(30.9)
        assert guest.hear("asked") == b"poweroff 30 1"
        await channel.answer(Answer("k1", 40), 10)
        assert guest.hear("granted") == b"10"
        assert not await channel.clear_request()
        assert guest.hear("asked") is None
        assert guest.hear("granted") is None
        await channel.ask()
        assert guest.hear("asked") is None
        assert await channel.request() == b"poweroff"

    simulate(story, policy=POLICY)


def test_a_guest_that_takes_its_nodes_away_is_asked_all_the_same() -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "deaf", "deaf")
        channel = GuestChannel(host.xenstore, guest.domid)
        assert await channel.report() is not None
        guest.remove(paths.AGENT)
        await channel.ask(30)
        assert await channel.request() == b"poweroff"
        guest.remove(paths.AGENT)
        assert not await channel.clear_request(), "that is not an acknowledgement"
        assert await channel.request() == b""

    simulate(story, policy=POLICY)


@pytest.mark.parametrize("refused", ["write", "commit"])
def test_a_note_that_cannot_be_written_does_not_cost_the_request(refused: str) -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "deaf", "deaf")
        channel = GuestChannel(host.xenstore, guest.domid)
        write, rm, noted = host.xenstore.write, host.xenstore.rm, 0

        async def spoilt_write(path: str, value: bytes, tx: int = 0) -> None:
            await write(path, value, tx)
            await spoil(path)

        async def spoilt_rm(path: str, tx: int = 0) -> None:
            await rm(path, tx)
            await spoil(path)

        async def spoil(path: str) -> None:
            nonlocal noted
            if path.endswith("/asked"):
                noted += 1
                if refused == "write":
                    raise XenStoreError("ENOSPC")
                guest.say("asked", b"%d" % noted)  # so that the transaction conflicts

        host.xenstore.write = spoilt_write  # type: ignore[method-assign]
        host.xenstore.rm = spoilt_rm  # type: ignore[method-assign]
        await channel.ask(30)
        assert await channel.request() == b"poweroff"
        assert not await channel.clear_request()
        assert await channel.request() == b""
        # The last time it is taken away without a transaction: it must not outlive the request.
        assert noted == (2 if refused == "write" else 8) + 1

    simulate(story, policy=POLICY)


def test_an_answer_that_cannot_be_written_is_written_later() -> None:
    async def story(host: Simulation) -> None:
        guest, stop = await being_stopped(host)
        write, refused = host.xenstore.write, [True]

        async def refuse(path: str, value: bytes, tx: int = 0) -> None:
            if path.endswith("/answer") and refused:
                raise XenStoreError("EIO")
            await write(path, value, tx)

        host.xenstore.write = refuse  # type: ignore[method-assign]
        guest.say("more", agent_protocol.encode_more(TimeRequest("k1", 10)))
        await CLOCK.sleep(5.0)
        assert guest.hear("answer") is None
        refused.clear()
        await CLOCK.sleep(2.0)
        answer = agent_protocol.parse_answer(guest.hear("answer"))
        assert answer is not None
        assert answer.left in {32, 33, 34}, "40 s less what has passed"
        await stop
        assert 40 <= host.result("db").seconds < 42

    simulate(story, policy=POLICY)


def test_nothing_is_left_where_a_domain_has_gone() -> None:
    async def story(host: Simulation) -> None:
        guest = await with_agent(host, "db")
        channel = GuestChannel(host.xenstore, guest.domid)
        assert await channel.report() is not None
        await host.toolstack.destroy(guest.domid)
        with pytest.raises(XenStoreError):
            await channel.answer(Answer("k1", 30))
        with pytest.raises(XenStoreError):
            await channel.ask(30)
        assert await host.xenstore.read_or_none(paths.domain(guest.domid)) is None

    simulate(story, policy=POLICY)


def test_the_budget_of_the_whole_stop_counts_for_every_domain() -> None:
    async def story(host: Simulation) -> None:
        host.define("hangs", "hangs")
        host.define("deaf", "deaf")
        host.define("web")
        await host.up()
        outcomes = await host.down()
        assert outcomes["web"] is Outcome.CLEAN
        for name in ("hangs", "deaf"):
            result = host.result(name)
            assert result.outcome is Outcome.FORCED
            assert 12 <= result.seconds < 14
            assert "12 s, when the host's stop_budget was used up: destroyed" in result.note

    simulate(story, policy='stop_budget = "12s"\n' + POLICY)
