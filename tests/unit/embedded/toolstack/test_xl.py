"""What xl does on the embedded host: names, memory, reapers, reboots, what is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.embedded.toolstack.calls import read_file
from lamplighter.embedded.toolstack.hypervisor import NoSuchDomain
from lamplighter.embedded.toolstack.xl import Delays
from lamplighter.errors import CallFailed
from lamplighter.host.clock import LoopClock
from lamplighter.model.domain import ShutdownReason
from lamplighter.xenstore import paths
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.embedded.guests.behaviour import EmbeddedDefinition
    from lamplighter.model.domain import DomainInfo

    Body = Callable[["Bench"], Awaitable[None]]

CLOCK = LoopClock()


class Bench:
    """A host, and definitions made as they are needed."""

    def __init__(self, host: EmbeddedHost, folder: Path) -> None:
        self.host, self.xl, self._folder = host, host.xl, folder
        self.session = host.store.connect(0, lambda path, token: None)

    def definition(self, name: str = "web", **keys: str | int) -> EmbeddedDefinition:
        lines = [f'name = "{name}"', *(f'{key} = "{value}"' for key, value in keys.items())]
        path = self._folder / f"{name}.cfg"
        path.write_text("\n".join(lines))
        return read_file(str(path))

    def guests(self) -> list[DomainInfo]:
        return self.xl.list()[1:]

    def ask(self, domid: int, what: bytes = b"poweroff") -> None:
        self.session.write(paths.control_shutdown(domid), what)


def on_bench(body: Body, memory: int = 4096) -> None:
    async def main(folder: Path) -> None:
        async with EmbeddedHost(folder / "run", CLOCK, 1, memory=memory) as host:
            async with CLOCK.timeout(600):
                await body(Bench(host, folder))
            assert host.store.tree.faults() == []

    with tempfile.TemporaryDirectory(prefix="lamp-") as folder:
        virtual.run(main(Path(folder)), seed=1)


def test_memory_and_names_come_back_when_a_domain_has_gone() -> None:
    async def body(bench: Bench) -> None:
        before, nodes = bench.host.hypervisor.free, len(bench.host.store.tree)
        domid = await bench.xl.create(bench.definition(memory=1000))
        assert bench.host.hypervisor.free == before - 1000
        with pytest.raises(CallFailed, match="the name web exists already"):
            await bench.xl.create(bench.definition())
        with pytest.raises(CallFailed, match="2072 MiB are free"):
            await bench.xl.create(bench.definition("big", memory=3000))
        await bench.xl.destroy(domid)
        assert bench.host.hypervisor.free == before
        assert bench.guests() == []
        parents = {"/vm", "/local/domain", "/libxl"}
        assert len(bench.host.store.tree) <= nodes + len(parents)
        with pytest.raises(NoSuchDomain):
            await bench.xl.destroy(domid)
        assert await bench.xl.create(bench.definition()) > domid, "a domid is not given twice"

    on_bench(body)


def test_a_reboot_keeps_the_uuid_even_where_the_file_states_none() -> None:
    async def body(bench: Bench) -> None:
        await bench.xl.create(bench.definition(embedded_guest="reboots"))
        (first,) = bench.guests()
        await CLOCK.sleep(3)
        bench.ask(first.domid)
        await CLOCK.sleep(1.5)
        assert bench.guests() == [], "between two incarnations there is nothing"
        await CLOCK.sleep(3)
        (second,) = bench.guests()
        assert (second.uuid, second.domid > first.domid) == (first.uuid, True)
        assert bench.xl.shutdown_reason(first.domid, first.uuid) is ShutdownReason.REBOOT
        assert bench.xl.shutdown_reason(first.domid, UUID(int=7)) is None
        bench.ask(second.domid)
        await CLOCK.sleep(5)
        assert bench.guests() == []

    on_bench(body)


def test_two_who_destroy_one_domain() -> None:
    async def body(bench: Bench) -> None:
        domid = await bench.xl.create(bench.definition(embedded_linger="5s"))
        await bench.xl.destroy(domid)
        await bench.xl.destroy(domid)
        (seen,) = bench.guests()
        assert seen.dying
        assert not seen.running
        assert seen.name == "", "its nodes have gone already"
        assert await bench.xl.create(bench.definition()) != domid, "its name is free again"
        await CLOCK.sleep(6)
        assert [seen.domid for seen in bench.guests()] == [domid + 1]

    on_bench(body)


@pytest.mark.parametrize(
    ("reaction", "left"),
    [
        ("destroy", []),
        ("preserve", [ShutdownReason.CRASH]),
        ("restart", [None]),
        ("rename-restart", [ShutdownReason.CRASH, None]),
    ],
)
def test_what_happens_to_a_crashed_domain(reaction: str, left: list[ShutdownReason | None]) -> None:
    async def body(bench: Bench) -> None:
        definition = bench.definition(
            embedded_guest="crashes", embedded_after="20s", on_crash=reaction
        )
        domid = await bench.xl.create(definition)
        uuid = bench.guests()[0].uuid
        await CLOCK.sleep(26)
        seen = bench.guests()
        assert [each.shutdown for each in seen] == left
        assert bench.xl.shutdown_reason(domid, uuid) is ShutdownReason.CRASH
        if reaction == "rename-restart":
            assert seen[0].name.startswith("web-2")
            assert seen[0].uuid != uuid
            assert (seen[1].name, seen[1].uuid) == ("web", uuid)

    on_bench(body)


def test_without_its_reaper_a_domain_stays_and_nothing_is_on_record() -> None:
    async def body(bench: Bench) -> None:
        domid = await bench.xl.create(bench.definition())
        uuid = bench.guests()[0].uuid
        bench.xl.kill_reaper(domid)
        await CLOCK.sleep(3)
        bench.ask(domid)
        await CLOCK.sleep(60)
        (seen,) = bench.guests()
        assert seen.shutdown is ShutdownReason.POWEROFF
        assert bench.xl.shutdown_reason(domid, uuid) is None
        with pytest.raises(CallFailed, match="has no process"):
            bench.xl.kill_reaper(domid)
        await bench.xl.destroy(domid)
        assert bench.guests() == []

    on_bench(body)


def test_at_a_busy_host_listings_are_late_and_domains_are_reaped_one_after_another() -> None:
    async def body(bench: Bench) -> None:
        bench.xl.busy = Delays(listing=4.0, reaping=10.0)
        domids = [await bench.xl.create(bench.definition(name)) for name in ("web", "db")]
        await CLOCK.sleep(3)
        for domid in domids:
            bench.ask(domid)
        listing = bench.host.xl.list_slowly()
        await CLOCK.sleep(2)
        has_run = CLOCK.monotonic()
        assert all(seen.running for seen in (await listing)[1:]) is False
        assert CLOCK.monotonic() == has_run + 4.0
        await CLOCK.sleep(3)
        assert [seen.domid for seen in bench.guests()] == domids
        assert all(bench.xl.reaper_lives(domid) for domid in domids)
        await CLOCK.sleep(5)
        assert len(bench.guests()) == 1
        await CLOCK.sleep(10)
        assert bench.guests() == []

    on_bench(body)


def test_a_name_is_what_xenstore_says() -> None:
    async def body(bench: Bench) -> None:
        domid = await bench.xl.create(bench.definition())
        bench.session.write(paths.name(domid), b"renamed\xff")
        assert bench.guests()[0].name == "renamed\ufffd"
        await bench.xl.create(bench.definition())
        bench.session.rm(paths.domain(domid))
        assert bench.guests()[0].name == ""

    on_bench(body)


@pytest.mark.parametrize("word", [b"halt", b"poweroff"])
def test_a_kernel_takes_the_requests_it_knows_and_leaves_the_others(word: bytes) -> None:
    async def body(bench: Bench) -> None:
        domid = await bench.xl.create(bench.definition())
        await CLOCK.sleep(3)
        for odd in (b"PowerOff", b"poweroff\0", b"\xff" * 4000, b""):
            bench.ask(domid, odd)
            await CLOCK.sleep(2)
            assert bench.session.read(paths.control_shutdown(domid)) == odd
            assert bench.guests()[0].running
        bench.ask(domid, word)
        await CLOCK.sleep(3)
        assert bench.guests() == []

    on_bench(body)


def test_the_power_button() -> None:
    async def body(bench: Bench) -> None:
        keys = {"type": "hvm", "embedded_guest": "no-drivers", "embedded_boot": "5s"}
        domid = await bench.xl.create(bench.definition(**keys))
        bench.xl.press_power(domid)  # lost: the firmware runs
        await CLOCK.sleep(8)
        assert bench.guests()[0].running
        bench.ask(domid)
        await CLOCK.sleep(8)
        assert bench.session.read(paths.control_shutdown(domid)) == b"poweroff"
        bench.xl.press_power(domid)
        await CLOCK.sleep(3)
        assert bench.guests() == []
        pv = await bench.xl.create(bench.definition("pv"))
        with pytest.raises(CallFailed, match="not an HVM domain"):
            bench.xl.press_power(pv)

    on_bench(body)


def test_domids_run_out_and_are_reported() -> None:
    async def body(bench: Bench) -> None:
        bench.host.hypervisor._last = 0x7FEF
        with pytest.raises(CallFailed, match="no domid is left"):
            await bench.xl.create(bench.definition())

    on_bench(body)


def test_the_same_seed_is_the_same_host() -> None:
    boots: list[tuple[str, UUID]] = []

    async def body(bench: Bench) -> None:
        await bench.xl.create(bench.definition())
        boots.append((bench.host.boot_id, bench.guests()[0].uuid))

    on_bench(body)
    on_bench(body)
    assert boots[0] == boots[1]
