"""The monitor on an embedded host: what it sees, what it writes down, and what it survives."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.errors import ToolstackUnreachable
from lamplighter.host.event_log import read_event_log
from lamplighter.host.journal.writer import Journal
from lamplighter.host.lock import hold_host
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.policy import HostSettings, Setting
from lamplighter.service.guests import shutdown_requests
from lamplighter.service.guests.reader import FLOOD
from lamplighter.service.incarnation import newest_domid
from lamplighter.service.managed_host import HostConnection
from lamplighter.service.monitor import Monitor
from lamplighter.xenstore import paths
from tests.simulated import CLOCK, Simulation, simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Story = Callable[[Simulation, "Watch"], Awaitable[None]]


class Vigil(Notifier):
    """Keeps what systemd would hear, with the time."""

    def __init__(self) -> None:
        super().__init__("@nobody")
        self.heard: list[tuple[float, str]] = []

    def send(self, **words: object) -> bool:
        told = [name for name in ("ready", "watchdog", "stopping") if words.get(name)]
        self.heard += [(CLOCK.monotonic(), name) for name in told]
        return True


class Watch:
    """A place in which monitors come and go, and their record."""

    def __init__(self, simulation: Simulation, state: Path) -> None:
        self._simulation = simulation
        self.state = state
        self.vigil = Vigil()
        self.task: asyncio.Task[None]

    @asynccontextmanager
    async def monitor(self, watchdog: float | None = None) -> AsyncIterator[Monitor]:
        simulation = self._simulation
        boot_id = simulation.embedded.boot_id
        reach = HostConnection(CLOCK, simulation.toolstack, simulation.xenstore, boot_id)
        settings = HostSettings(state=Setting(str(self.state)), run=Setting(str(self.state)))
        monitor = Monitor(reach, settings)
        self.task = asyncio.get_running_loop().create_task(monitor.watch(self.vigil, watchdog))
        try:
            await CLOCK.sleep(1)
            yield monitor
        finally:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def record(self) -> list[tuple[str, str, str]]:
        """Return name, way and account of all passages."""
        domain_events = read_event_log(self.state)
        return [(one.name, one.way.value, one.by.value) for one in domain_events]

    def whys(self) -> list[str]:
        return [one.why for one in read_event_log(self.state)]


def watching(story: Story, *, seed: int = 1) -> None:
    async def main(simulation: Simulation) -> None:
        with tempfile.TemporaryDirectory(prefix="lamp-") as state:
            simulation.journal = Journal.open(Path(state), threaded=False)
            try:
                await story(simulation, Watch(simulation, Path(state)))
            finally:
                await simulation.journal.close()

    simulate(main, seed=seed)


async def create(simulation: Simulation, name: str) -> int:
    """Another tool creates a domain."""
    definition = simulation.definition(name)
    await simulation.toolstack.create(definition)
    domid = await newest_domid(simulation.xenstore, definition)
    assert domid is not None
    return domid


def ask(simulation: Simulation, domid: int, word: bytes) -> None:
    """Another tool asks a guest for something."""
    session = simulation.embedded.store.connect(DOM0, lambda path, token: None)
    session.write(paths.control_shutdown(domid), word)
    session.close()


def test_what_runs_do_is_theirs() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        for name, guest in (("web", "prompt"), ("db", "deaf"), ("mail", "crashes")):
            simulation.define(name, guest)
        async with watch.monitor():
            await simulation.up()
            await CLOCK.sleep(5)
            await simulation.down()
            await CLOCK.sleep(5)
        came = [("came", "lamplighter")] * 3
        assert sorted(watch.record()[:3]) == sorted(
            (name, *one) for name, one in zip(("db", "mail", "web"), came, strict=True)
        )
        assert set(watch.record()[3:]) == {
            ("web", "went", "lamplighter"),
            ("db", "went", "lamplighter"),
            ("mail", "went", "crash"),
        }
        assert "lamplighter down destroyed it" in watch.whys()

    watching(story)


def test_what_others_do_differs_from_what_guests_do() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        for name, guest in (("asked", "prompt"), ("cut", "prompt"), ("quits", "quits")):
            simulation.define(name, guest)
        simulation.define("crashes", "crashes", embedded_after="8s")
        async with watch.monitor():
            domids = {name: await create(simulation, name) for name in ("asked", "cut", "quits")}
            await create(simulation, "crashes")
            await CLOCK.sleep(5)
            ask(simulation, domids["asked"], b"poweroff")
            await simulation.toolstack.destroy(domids["cut"])
            await CLOCK.sleep(20)
        assert {one[:2]: one[2] for one in watch.record()} == {
            ("asked", "came"): "tool",
            ("asked", "went"): "tool",
            ("cut", "came"): "tool",
            ("cut", "went"): "tool",
            ("quits", "came"): "tool",
            ("quits", "went"): "guest",
            ("crashes", "came"): "tool",
            ("crashes", "went"): "crash",
        }

    watching(story)


def test_a_stop_of_ours_that_left_no_record_is_not_taken_for_a_wish() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        for name, guest in (("web", "prompt"), ("windows", "no-drivers")):
            simulation.define(name, guest, type="hvm" if guest == "no-drivers" else "pv")
        async with watch.monitor():
            for name in ("web", "windows"):
                await create(simulation, name)
            await CLOCK.sleep(30)
            simulation.journal, journal = None, simulation.journal
            with hold_host(watch.state, command="down", since=CLOCK.wall()):
                await simulation.down()
                await CLOCK.sleep(2)
            simulation.journal = journal
        assert {one[2] for one in watch.record() if one[1] == "went"} == {"unknown"}

    watching(story)


def test_a_reboot_is_followed() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("web")
        async with watch.monitor() as monitor:
            domid = await create(simulation, "web")
            await CLOCK.sleep(5)
            ask(simulation, domid, b"reboot")
            await CLOCK.sleep(10)
            (last,) = monitor.watched().last_events
        assert [one[1:] for one in watch.record()] == [
            ("came", "tool"),
            ("went", "tool"),
            ("came", "tool"),
        ]
        assert (last.domid, last.why) == (domid + 1, f"it is back from the reboot of domid {domid}")

    watching(story)


def test_one_monitor_goes_on_where_another_was_killed() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        for name in ("stays", "goes", "quits"):
            simulation.define(name, "quits" if name == "quits" else "prompt")
        async with watch.monitor():
            goes = await create(simulation, "goes")
            await create(simulation, "stays")
            await create(simulation, "quits")
            await CLOCK.sleep(5)
        await simulation.toolstack.destroy(goes)
        await CLOCK.sleep(20)
        async with watch.monitor():
            await CLOCK.sleep(5)
        assert [one for one in watch.record() if one[1] == "went"] == [
            ("goes", "went", "unknown"),
            ("quits", "went", "guest"),  # xl wrote down why
        ]
        assert [one for one in watch.record() if one[0] == "stays"] == [("stays", "came", "tool")]

    watching(story)


def test_it_does_nothing_between_events() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("web")
        async with watch.monitor():
            await create(simulation, "web")
            await CLOCK.sleep(60)
            listings = len(simulation.toolstack.listed_at)
            await CLOCK.sleep(3000)
            assert len(simulation.toolstack.listed_at) == listings

    watching(story)


def test_the_watchdog_has_it_look_and_hears_of_it() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        async with watch.monitor(watchdog=600):
            await CLOCK.sleep(1000)
            assert watch.vigil.heard[0][1] == "ready"
            ticks = [at for at, word in watch.vigil.heard if word == "watchdog"]
            assert len(ticks) == 4
            assert all(later - earlier <= 300.1 for earlier, later in pairwise(ticks))
            assert len(simulation.toolstack.listed_at) >= 4
            simulation.embedded.faults.set("list", Fault(How.HANG), 1000)
            await CLOCK.sleep(2000)
            late = [at for at, word in watch.vigil.heard if word == "watchdog"][len(ticks) :]
            assert len(late) > 1, "a call that hangs has a deadline, and a look in vain is a look"
        assert watch.vigil.heard[-1][1] == "stopping"

    watching(story)


def test_a_listing_that_fails_means_nothing_and_is_tried_again() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("web")
        async with watch.monitor() as monitor:
            domid = await create(simulation, "web")
            await CLOCK.sleep(5)
            simulation.embedded.faults.set("list", Fault(How.FAIL), 5)
            await simulation.toolstack.destroy(domid)
            await CLOCK.sleep(2)
            assert monitor.watched().error
            assert "cannot be listed" in monitor.summary
            await CLOCK.sleep(60)
            assert not monitor.watched().error
        assert watch.record() == [("web", "came", "tool"), ("web", "went", "unknown")]

    watching(story)


def test_a_lost_connection_to_xenstore_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        for name in ("web", "db"):
            simulation.define(name)
        async with watch.monitor():
            web, db = [await create(simulation, name) for name in ("web", "db")]
            await CLOCK.sleep(5)
            await simulation.embedded.xenstore.interrupt(3.0)
            await CLOCK.sleep(30)
            ask(simulation, web, b"poweroff")
            await CLOCK.sleep(10)
            assert ("web", "went", "tool") in watch.record()
            assert not [one for one in watch.record() if one[0] == "db" and one[1] == "went"]
            await simulation.toolstack.destroy(db)
            await CLOCK.sleep(10)
        # That a watch fires when the connection is back is not taken for a request.
        assert "another tool destroyed it" in watch.whys()[-1]
        assert "the connection to XenStore is lost" in caplog.messages

    watching(story)


def test_another_boot_of_the_host_needs_another_monitor() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        async with watch.monitor():
            simulation.embedded.boot_id = "another"
            await simulation.embedded.xenstore.interrupt(0.5)
            await CLOCK.sleep(10)
            with pytest.raises(ToolstackUnreachable, match="booted again"):
                await watch.task

    watching(story)


def test_a_guest_that_writes_without_end_costs_a_bounded_number_of_looks() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("noisy", "noisy", embedded_every="0.01s")
        reads: list[str] = []
        read = simulation.xenstore.read_or_none

        async def counted(path: str, tx: int = 0) -> bytes | None:
            reads.append(path)
            return await read(path, tx)

        simulation.xenstore.read_or_none = counted  # type: ignore[method-assign]
        async with watch.monitor():
            domid = await create(simulation, "noisy")
            await CLOCK.sleep(60)
        assert 0 < reads.count(paths.control_shutdown(domid)) <= FLOOD + 1

    watching(story)


def test_a_request_is_seen_although_the_domain_has_been_suspended_many_times() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        async with watch.monitor():
            domid = await create(simulation, simulation.define("web", "deaf"))
            await CLOCK.sleep(5)
            for _ in range(FLOOD + 1):
                ask(simulation, domid, b"suspend")
                await CLOCK.sleep(1)
            ask(simulation, domid, b"poweroff")
            await CLOCK.sleep(5)
            await simulation.toolstack.destroy(domid)
            await CLOCK.sleep(5)
        assert "asked" in watch.whys()[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutdown_requests, "FLOOD_WINDOW", 10.0)
        watching(story)


def test_a_logbook_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("web")
        async with watch.monitor() as monitor:
            (watch.state / "logbook.jsonl").mkdir()
            await create(simulation, "web")
            await CLOCK.sleep(5)
            assert [one.name for one in monitor.watched().last_events] == ["web"]
            assert "cannot be written" in caplog.text
            (watch.state / "logbook.jsonl").rmdir()
            monitor.observer.relist()
            await CLOCK.sleep(5)
        assert watch.record() == [("web", "came", "tool")], "written as soon as it can be"

    watching(story)


def test_without_a_journal_it_looks_all_the_same() -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        simulation.define("web")
        (watch.state / "state.db").write_bytes(b"no database at all" * 100)
        async with watch.monitor():
            await create(simulation, "web")
            await CLOCK.sleep(5)
        assert watch.record() == [("web", "came", "tool")]

    watching(story)


@pytest.mark.parametrize("seed", range(2))
def test_many_comings_and_goings_are_each_told_once(seed: int) -> None:
    async def story(simulation: Simulation, watch: Watch) -> None:
        names = [simulation.define(f"d{number}", memory=1) for number in range(20)]
        async with watch.monitor():
            for _ in range(3):
                await simulation.up()
                await simulation.down()
                await CLOCK.sleep(5)
        for name in names:
            told = [one[1] for one in watch.record() if one[0] == name]
            assert told == ["came", "went"] * 3, name

    watching(story, seed=seed)
