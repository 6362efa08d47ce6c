"""The handshake through ``control/shutdown``, and the ways in which guests end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import XenStoreError
from lamplighter.formats.agent_protocol import Answer
from lamplighter.model.domain import ShutdownReason
from lamplighter.service.guests.channel import GuestChannel
from lamplighter.xenstore import paths
from tests.contract.under_test import KERNELS, user_spaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.model.domain import Definition, DomainInfo
    from tests.contract.conftest import Story
    from tests.contract.under_test import UnderTest

    OnHost = Callable[[Story], None]


async def reason_of_end(
    host: UnderTest, definition: Definition, seen: DomainInfo
) -> ShutdownReason | None:
    """Wait until the domain has gone; return why it had shut down, as seen or on record.

    ``seen`` is the domain as it was: it may be gone before it is looked at again.
    """
    last = [seen]

    async def gone() -> bool:
        seen = await host.find(definition)
        if seen is not None:
            last.append(seen)
        return seen is None

    await host.until(gone, 20)
    return last[-1].shutdown or await host.toolstack.shutdown_reason(last[-1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_request_is_taken_by_clearing_it_and_the_domain_powers_off(
    on_host: OnHost, kernel: str
) -> None:
    async def story(host: UnderTest) -> None:
        slow = host.define("slow", "slow", kernel=kernel, seconds=5)
        seen = await host.boot(slow)
        changes = await host.listen(paths.control_shutdown(seen.domid))

        await host.ask(seen.domid)

        async def taken() -> bool:
            return await host.request(seen.domid) == b""

        async def told() -> bool:
            return bool(changes)

        await host.until(taken, 3)
        assert await host.find(slow) == seen, "it runs on while it shuts down"
        # The C xenstored makes one event of two that nobody has read yet.
        await host.until(told, 3)
        assert await reason_of_end(host, slow, seen) is ShutdownReason.POWEROFF
        assert await host.request(seen.domid) is None, "its nodes have gone with it"

    on_host(story)


def test_a_deaf_guest_leaves_the_request_and_it_can_be_taken_back(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        deaf = host.define("deaf", "deaf")
        domid = await host.create(deaf)
        guest = GuestChannel(host.xenstore, domid)

        await guest.ask()

        async def stands() -> bool:
            return await guest.request() == b"poweroff"

        await host.holds(stands, 4)
        assert await guest.poweroff_supported() is None, "it has not said that it takes requests"
        assert not await guest.clear_request()
        assert await guest.request() == b""
        seen = await host.find(deaf)
        assert seen is not None
        assert seen.running

    on_host(story)


def test_the_note_for_an_agent_comes_and_goes_with_the_request(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        deaf = host.define("deaf", "deaf")
        domid = await host.create(deaf)
        guest = GuestChannel(host.xenstore, domid)
        asked = paths.agent_node(domid, "asked")
        await guest.ask(30.9)
        assert await host.xenstore.read_or_none(asked) is None, "nobody there would read it"
        await host.xenstore.write(paths.agent_node(domid, "version"), b"1 0.2.0")

        guest = GuestChannel(host.xenstore, domid)
        await guest.ask(30.9)

        assert await host.xenstore.read(asked) == b"poweroff 30 1"
        await guest.ask(30.9)
        assert await host.xenstore.read(asked) == b"poweroff 30 2", "which is another request"
        assert not await guest.clear_request()
        assert await host.xenstore.read_or_none(asked) is None
        await guest.ask(20)
        await host.xenstore.rm(paths.agent(domid))
        assert not await guest.clear_request(), "a note that is gone is not an acknowledgement"
        assert await guest.request() == b""

    on_host(story)


def test_nothing_is_written_for_an_agent_whose_domain_has_gone(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        deaf = host.define("deaf", "deaf")
        domid = await host.create(deaf)
        await host.xenstore.write(paths.agent_node(domid, "version"), b"1 0.2.0")
        guest = GuestChannel(host.xenstore, domid)
        assert await guest.report() is not None
        await host.toolstack.destroy(domid)

        with pytest.raises(XenStoreError):
            await guest.answer(Answer("k1", 30))
        with pytest.raises(XenStoreError):
            await guest.ask(30)

        assert await host.xenstore.read_or_none(paths.agent(domid)) is None

    on_host(story)


def test_a_hanging_guest_takes_the_request_and_stays(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        hangs = host.define("hangs", "hangs")
        seen = await host.boot(hangs)
        guest = GuestChannel(host.xenstore, seen.domid)

        await guest.ask()

        async def taken() -> bool:
            return await guest.request() == b""

        await host.until(taken, 3)

        async def runs() -> bool:
            now = await host.find(hangs)
            return now is not None and now.running and now.domid == seen.domid

        await host.holds(runs, 4)
        assert await guest.clear_request(), "there is nothing left to take back"

    on_host(story)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_reboot_gives_the_domain_another_domid(on_host: OnHost, kernel: str) -> None:
    async def story(host: UnderTest) -> None:
        reboots = host.define(f"reboots-{kernel}", "reboots", kernel=kernel)
        first = await host.boot(reboots)
        spaces = user_spaces(reboots)

        await host.ask(first.domid)

        async def back() -> DomainInfo | None:
            seen = await host.find(reboots)
            return seen if seen is not None and seen.domid != first.domid else None

        async def named() -> DomainInfo | None:
            seen = await back()
            return seen if seen is not None and seen.name else None

        second = await host.until(back, 20)
        assert second.name in ("", first.name), "while it is created it may be nameless"
        second = await host.until(named, 5)
        assert (second.uuid, second.name) == (first.uuid, first.name)
        assert second.domid > first.domid
        assert await host.toolstack.shutdown_reason(first) is ShutdownReason.REBOOT
        assert await host.request(first.domid) is None
        await host.until_up(second.domid)
        await host.until_user_space(reboots, more_than=spaces)
        await host.ask(second.domid)
        assert await reason_of_end(host, reboots, second) is ShutdownReason.POWEROFF

    on_host(story)


def test_a_crash_that_is_preserved_stays_listed_until_it_is_destroyed(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        crashes = host.define("crashes", "crashes", on_crash="preserve")
        seen = await host.boot(crashes)
        await host.ask(seen.domid)

        async def crashed() -> bool:
            now = await host.find(crashes)
            return now is not None and now.shutdown is ShutdownReason.CRASH

        await host.until(crashed, 10)
        await host.holds(crashed, 2)
        await host.toolstack.destroy(seen.domid)
        await host.until(lambda: host.is_gone(crashes), 5)

    on_host(story)


def test_the_process_that_waits_for_a_domain_lives_until_it_is_killed(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        seen = await host.boot(host.define("web", "prompt"))
        assert await host.toolstack.reaper_lives(seen)
        assert not await host.toolstack.reaper_lives(seen._replace(domid=seen.domid + 1))

        await host.kill_reaper(seen)

        async def dead() -> bool:
            return not await host.toolstack.reaper_lives(seen)

        await host.until(dead, 5)

    on_host(story)


def test_a_guest_powers_off_by_itself(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        quits = host.define("quits", "quits", seconds=1)
        went = await host.listen(paths.RELEASE_DOMAIN)
        await host.toolstack.create(quits)
        seen = await host.find(quits)
        assert seen is not None
        assert await reason_of_end(host, quits, seen) is ShutdownReason.POWEROFF
        assert went, "@releaseDomain did not fire"

    on_host(story)


def test_a_guest_may_write_anything_but_no_more_than_a_packet(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        garbles = host.define("garbles", "garbles")
        seen = await host.boot(garbles)
        read: set[bytes] = set()

        async def twice() -> bool:
            read.add(await host.request(seen.domid) or b"")
            return len(read) > 2

        await host.until(twice, 10)
        assert all(len(value) <= 4096 for value in read)
        assert max(map(len, read)) > 100

    on_host(story)
