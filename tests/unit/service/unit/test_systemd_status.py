from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from lamplighter.errors import XenStoreUnreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Plan, Step, Verb
from lamplighter.model.policy import Policy
from lamplighter.model.run import Direction, Outcome, Result, Run, Transition
from lamplighter.service.unit import systemd_status as module
from lamplighter.service.unit.systemd_status import UnitStatus, final_text, unit_status
from tests import virtual

NOW = datetime(2025, 3, 1, tzinfo=UTC)


class Manager(Notifier):
    """Hears what would be sent, and when; ``deaf`` while it takes nothing."""

    def __init__(self, *, active: bool = True) -> None:
        super().__init__("/run/notify" if active else "")
        self.statuses: list[tuple[float, str]] = []
        self.extensions: list[tuple[float, float]] = []
        self.deaf = False

    def send(self, *, status: str | None = None, extend: float | None = None) -> bool:
        if not self.active or self.deaf:
            return False
        now = LoopClock().monotonic()
        if status is not None and (not self.statuses or self.statuses[-1][1] != status):
            self.statuses.append((now, status))
        if extend is not None:
            self.extensions.append((now, extend))
        return True

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.statuses]


def plan(*names: str, direction: Direction = Direction.DOWN) -> Plan:
    idle = Step("dom0", Verb.NOTHING, "", Policy(), outcome=Outcome.SKIPPED)
    return Plan(direction, (idle, *(Step(name, Verb.STOP, "", Policy()) for name in names)))


def result(name: str, outcome: Outcome = Outcome.CLEAN, *, good: bool = True) -> Result:
    return Result(name, None, None, outcome, good=good)


def run_of(*results: Result, direction: Direction = Direction.DOWN) -> Run:
    return Run(1, direction, "boot", NOW, NOW, 0, results)


def test_it_shows_what_a_guest_does_that_is_waited_for() -> None:
    status = UnitStatus(Direction.DOWN, active=True)
    status.began(plan("web", "db"))
    status.guest_reported("db", "stopping postgresql, 40 %")
    status.guest_reported("other", "stopping")
    assert status.text == 'stopping: 2 of 2 left: db ("stopping postgresql, 40 %"), web'
    acknowledged = Phase.ACKNOWLEDGED
    told = Transition("db", None, 1, acknowledged, acknowledged, "30s more granted", NOW)
    status.moved(told)
    status.moved(told._replace(before=Phase.ASKED, detail="the guest took it"))
    assert status.text == "stopping: 2 of 2 left: db (30s more granted), web"
    status.guest_reported("db", "x" * 190)
    assert status.text == f'stopping: 2 of 2 left: db ("{"x" * 60}..."), web'
    status.guest_reported("db", '30s more granted"), mail (gone')
    assert status.text == 'stopping: 2 of 2 left: db ("30s more granted\'), mail (gone"), web'
    status.settled(result("db"))
    assert status.text == "stopping: 1 of 2 left: web"


def test_it_shows_which_domains_are_left_and_how_all_ended() -> None:
    manager, clock = Manager(), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.DOWN, manager, clock) as status:
            await clock.sleep(2)
            status.began(plan("web", "db", "mail"))
            await clock.sleep(2)
            status.settled(result("web"))
            status.settled(result("dom0", Outcome.SKIPPED))
            await clock.sleep(2)
            status.settled(result("db", Outcome.FORCED, good=False))
            status.settled(result("mail"))
            status.ended(
                run_of(result("web"), result("db", Outcome.FORCED, good=False), result("mail"))
            )

    virtual.run(story())
    assert manager.texts == [
        "stopping: reading the host",
        "stopping: 3 of 3 left: db, mail, web",
        "stopping: 2 of 3 left: db, mail",
        "stopped, 3 domains: 2 clean, 1 forced (db)",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_time_out_is_extended_from_the_first_moment_to_the_last(seed: int) -> None:
    manager, clock = Manager(), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.UP, manager, clock) as status:
            await clock.sleep(300)
            status.began(plan("web", direction=Direction.UP))
            await clock.sleep(300)
        await clock.sleep(300)

    virtual.run(story(), seed=seed)
    times = [at for at, _ in manager.extensions]
    assert times[0] == 0
    assert 590 <= times[-1] <= 600
    assert all(8 <= after - before <= 12 for before, after in itertools.pairwise(times))
    assert all(seconds >= 60 for _, seconds in manager.extensions)


def test_a_run_that_hangs_is_ended_and_one_that_is_slow_or_by_hand_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    armed: list[tuple[float, float]] = []
    clock = LoopClock()
    monkeypatch.setattr(module, "arm_alarm", lambda s: armed.append((clock.monotonic(), s)))
    monkeypatch.setattr(module, "disarm_alarm", lambda: armed.append((clock.monotonic(), 0)))

    async def story(*, active: bool) -> None:
        async with unit_status(Direction.UP, Manager(active=active), clock):
            await clock.sleep(600)
        await clock.sleep(600)

    virtual.run(story(active=False))
    assert armed == []
    virtual.run(story(active=True))
    assert armed.pop() == (600, 0)
    for (before, seconds), (after, _) in itertools.pairwise(armed):
        assert after - before < seconds / 10
    # A hung run ends by itself before systemd ends it, which would leave the unit failed.
    assert all(seconds < 180 for _, seconds in armed)


def test_what_did_not_arrive_is_sent_again() -> None:
    manager, clock = Manager(), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.UP, manager, clock):
            manager.deaf = True
            await clock.sleep(25)
            manager.deaf = False
            await clock.sleep(5)

    virtual.run(story())
    assert 25 <= manager.extensions[0][0] <= 26
    assert manager.texts[0] == "starting: reading the host"


def test_a_thousand_domains_are_not_a_thousand_messages() -> None:
    manager, clock = Manager(), LoopClock()
    names = [f"d{number:04}" for number in range(1000)]

    async def story() -> None:
        async with unit_status(Direction.DOWN, manager, clock) as status:
            status.began(plan(*names))
            for name in names:
                await clock.sleep(0.01)
                status.settled(result(name))
            status.ended(run_of(*map(result, names)))

    virtual.run(story())
    assert len(manager.texts) <= 13
    assert manager.texts[0].endswith("left: " + ", ".join(names[:8]) + " and 992 more")
    assert manager.texts[-1] == "stopped, 1000 domains: 1000 clean"


def test_a_run_that_could_not_begin_says_why() -> None:
    manager, clock = Manager(), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.UP, manager, clock) as status:
            status.waits("another run holds this host: down (pid 7, root)")
            await clock.sleep(2)
            raise XenStoreUnreachable("there is no XenStore", hint="is xenstored running?")

    with pytest.raises(XenStoreUnreachable):
        virtual.run(story())
    assert manager.texts == [
        "starting: waiting: another run holds this host: down (pid 7, root)",
        "start failed: there is no XenStore (is xenstored running?)",
    ]


def test_a_defect_is_not_reported_as_an_end() -> None:
    manager, clock = Manager(), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.DOWN, manager, clock):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        virtual.run(story())
    assert manager.texts == ["stop ended unexpectedly: see the unit's log"]


def test_without_systemd_nothing_goes_on_beside_the_run() -> None:
    manager, clock = Manager(active=False), LoopClock()

    async def story() -> None:
        async with unit_status(Direction.DOWN, manager, clock) as status:
            assert not status.active
            await clock.sleep(100)

    virtual.run(story())
    assert (manager.texts, manager.extensions) == ([], [])


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (run_of(), "stopped: there was no domain to stop"),
        (run_of(result("web")), "stopped, 1 domain: 1 clean"),
        (
            run_of(
                result("a", Outcome.STARTED),
                result("b", Outcome.FAILED, good=False),
                result("c", Outcome.FAILED, good=False),
                result("d", Outcome.ALREADY),
                direction=Direction.UP,
            ),
            "started, 4 domains: 2 failed (b, c), 1 started, 1 already",
        ),
        (
            run_of(result("a", Outcome.FORCED), result("b", Outcome.FORCED, good=False)),
            "stopped, 2 domains: 2 forced (b)",
        ),
    ],
)
def test_only_the_domains_that_need_attention_have_their_names_told(run: Run, told: str) -> None:
    assert final_text(run) == told


def test_a_record_that_was_lost_is_reported() -> None:
    told = final_text(run_of(result("web"))._replace(lost="the disk is full"))
    assert told.startswith("stopped, 1 domain: 1 clean; its record is lost")


def test_an_interrupted_run_says_by_what() -> None:
    status = UnitStatus(Direction.UP, active=True)
    status.ended(run_of(direction=Direction.UP), "SIGTERM")
    status.close()
    assert status.text == "interrupted by SIGTERM: started: there was no domain to start"


def test_definitions_without_a_name_are_reported() -> None:
    status = UnitStatus(Direction.UP, active=True)
    status.ended(run_of(result("web", Outcome.STARTED), direction=Direction.UP), broken=2)
    assert status.text == (
        "started, 1 domain: 1 started; broken definitions: 2, see lamplighter check"
    )
