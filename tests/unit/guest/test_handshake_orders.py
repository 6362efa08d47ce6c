"""Kernel and agent in every order: the agent's decisions in a simulated guest, on virtual time.

The kernel may take a request at once, within the agent's grace, in the very moment in which the
agent does, after it, or never; the host may be one that leaves a note or one that does not; init
may tell the agent or hang. Whatever comes first: the request is taken by exactly one of the two,
the system's shutdown is begun once, and a guest that was asked is down in time.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.embedded.guests.agent import GuestAgent
from lamplighter.embedded.guests.behaviour import Behaviour, GuestProfile
from lamplighter.embedded.guests.kernel import GuestKernel
from lamplighter.embedded.toolstack import libxl
from lamplighter.embedded.toolstack.hypervisor import Hypervisor
from lamplighter.embedded.xenstored.store import Store
from lamplighter.errors import XenStoreError
from lamplighter.formats.agent_protocol import (
    GUEST_NODES,
    Answer,
    DeadlineNote,
    encode_answer,
    encode_deadline_note,
    parse_agent_nodes,
)
from lamplighter.guest.handshake import State
from lamplighter.host.clock import LoopClock
from lamplighter.model.domain import Kind, ShutdownReason
from lamplighter.xenstore import paths
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.embedded.guests.agent import System
    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.formats.agent_protocol import AgentStatus
    from lamplighter.model.clock import Clock

CLOCK = LoopClock()
INF = float("inf")

#: How late the kernel is: at once, within the agent's grace of 2 s, with the agent, after it.
KERNELS = (0.0, 0.5, 2.0, 2.0 + 1e-6, 5.0, INF)
SEEDS = range(12)
#: When the host asks: the guest is up, and whatever its watches told it at first is over.
START = 20.0


class Mortal(GuestAgent):
    """An agent that can be killed, and is followed by another one that knows what was kept."""

    def __init__(
        self,
        character: GuestProfile,
        connect: Callable[[Callable[[str, bytes], None]], Session],
        clock: Clock,
        system: System,
    ) -> None:
        super().__init__(character, connect, clock, system)
        self._connect = connect
        self._life: asyncio.Task[None] | None = None

    async def run(self) -> None:
        while True:
            self._life = asyncio.create_task(super().run())
            try:
                await asyncio.wait([self._life])
            finally:
                self._life.cancel()
            if not self._life.cancelled():
                self._life.result()
            await CLOCK.sleep(1.0)  # systemd's RestartSec
            self._session = self._connect(self._node_changed)

    def kill(self) -> None:
        assert self._life is not None
        self._life.cancel()
        self._runs, left = False, self._state
        self._changed.clear()
        self._events.clear()
        self._script = None  # it is found again, and takes its time anew
        self._state = State(
            left.settings,
            acknowledging=left.begins or left.acknowledging,
            acknowledged=bool(left.begins),
        )


class Guest(GuestKernel):
    """A guest's kernel that counts what happens in it."""

    def __init__(
        self,
        character: GuestProfile,
        connect: Callable[[Callable[[str, bytes], None]], Session],
        chance: random.Random,
    ) -> None:
        super().__init__(character, connect, CLOCK, chance, rebooted=False)
        self.begun: list[ShutdownReason] = []
        self.agent = Mortal(character, connect, CLOCK, self)
        if self._agent is not None:
            self._agent = self.agent

    def _begin(self, reason: ShutdownReason) -> None:
        before = self._reason
        super()._begin(reason)
        if before is None and self._reason is not None:
            self.begun.append(self._reason)


@dataclass
class Domain:
    """One domain with a guest in it, and what the host saw of its nodes."""

    character: GuestProfile
    chance: random.Random
    cleared: list[float] = field(default_factory=list)
    said: list[AgentStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store()
        domain = Hypervisor(4096).create(UUID(int=1), Kind.PV)
        self.home = paths.domain(domain.domid)
        self.domid = domain.domid
        self.stirred = asyncio.Event()
        self.host = self.store.connect(0, lambda path, token: self._stir(path))
        libxl.make(self.host, domain, "web")
        self.store.introduce(domain.domid)
        connect = partial(self.store.connect, domain.domid)
        self.guest = Guest(self.character, connect, self.chance)

    def _stir(self, _path: str) -> None:
        self.stirred.set()

    def read(self, name: str) -> bytes | None:
        try:
            return self.host.read(f"{self.home}/{name}")
        except XenStoreError:
            return None

    @property
    def words(self) -> AgentStatus | None:
        return parse_agent_nodes({name: self.read(f"{paths.AGENT}/{name}") for name in GUEST_NODES})

    def ask(self, request: str, seconds: int | None) -> None:
        """The host asks; a host that is ours leaves a note in the same transaction."""
        tx = self.host.start()
        self.host.write(f"{self.home}/control/shutdown", request.encode(), tx)
        if seconds is not None:
            note = encode_deadline_note(DeadlineNote(request, seconds))
            self.host.write(f"{self.home}/{paths.AGENT}/asked", note, tx)
        self.host.end(tx, commit=True)

    def clear_request(self) -> bool:
        """The host gives up; True when somebody had taken the request before that."""
        tx = self.host.start()
        taken = not self.host.read(f"{self.home}/control/shutdown", tx)
        if not taken:
            self.host.write(f"{self.home}/control/shutdown", b"", tx)
            self.host.rm(f"{self.home}/{paths.AGENT}/asked", tx)
        self.host.end(tx, commit=True)
        return taken

    async def look_on(self) -> None:
        """Note when the request is cleared, and each new word."""
        self.host.watch(self.home, b"all")
        stands = False
        while True:
            await self.stirred.wait()
            self.stirred.clear()
            now_stands = bool(self.read("control/shutdown"))
            if stands and not now_stands:
                self.cleared.append(CLOCK.monotonic())
            stands = now_stands
            words = self.words
            if words is not None and (not self.said or self.said[-1] != words):
                self.said.append(words)


def play(
    character: GuestProfile,
    story: Callable[[Domain], Awaitable[None]],
    *,
    seed: int = 0,
    longest: float = 1000.0,
) -> tuple[Domain, ShutdownReason | None, float]:
    """Play a story; return the domain, how it ended (None: it lives) and when."""

    async def main() -> tuple[Domain, ShutdownReason | None, float]:
        domain = Domain(character, random.Random(seed))
        tasks = [asyncio.create_task(domain.look_on()), asyncio.create_task(domain.guest.run())]
        await CLOCK.sleep(START)
        try:
            async with CLOCK.timeout(longest):
                await story(domain)
                reason = await asyncio.shield(tasks[1])
        except TimeoutError:
            reason = None
        ended = CLOCK.monotonic()
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error
        return domain, reason, ended

    return virtual.run(main(), seed=seed)


def asks(request: str, note: int | None) -> Callable[[Domain], Awaitable[None]]:
    async def story(domain: Domain) -> None:
        domain.ask(request, note)

    return story


@pytest.mark.parametrize("react", KERNELS)
@pytest.mark.parametrize("note", [None, 60])
@pytest.mark.parametrize("request_", ["poweroff", "halt", "reboot"])
def test_a_willing_guest_is_down_whoever_is_first(
    react: float, note: int | None, request_: str
) -> None:
    for seed in SEEDS:
        character = GuestProfile(agent=True, react=react, script=3.0, shutdown=1.0)
        domain, reason, ended = play(character, asks(request_, note), seed=seed)
        wanted = ShutdownReason.REBOOT if request_ == "reboot" else ShutdownReason.POWEROFF
        assert reason is wanted, f"seed {seed}"
        assert domain.guest.begun == [wanted], f"seed {seed}: begun once, by one of them"
        assert len(domain.cleared) == 1, f"seed {seed}: {domain.cleared}"
        taken = min(react, 2.0) if react != 2.0 + 1e-6 else 2.0
        assert ended == pytest.approx(START + taken + 3.0 + 1.0, abs=0.01), f"seed {seed}"
        assert domain.words is not None
        assert domain.words.forced is None
        assert [str(w.progress) for w in domain.said if w.progress and w.progress.percent == 50]


@pytest.mark.parametrize("react", KERNELS)
@pytest.mark.parametrize(
    ("note", "moment"),
    [
        *((60, moment) for moment in (1.0, 2.0, 2.0 + 1e-6, 2.5, 5.0, 5.5)),
        # Without a note nobody knows what became of an acknowledgement that was cut in two.
        *((None, moment) for moment in (1.0, 2.5, 5.0, 5.5)),
    ],
)
def test_a_willing_guest_is_down_when_the_agent_is_killed(
    react: float, note: int | None, moment: float
) -> None:
    for seed in SEEDS:

        async def story(domain: Domain) -> None:
            domain.ask("poweroff", note)
            await CLOCK.sleep(moment)
            domain.guest.agent.kill()

        character = GuestProfile(agent=True, react=react, script=3.0, shutdown=1.0)
        domain, reason, ended = play(character, story, seed=seed)
        assert reason is ShutdownReason.POWEROFF, f"seed {seed}"
        assert domain.guest.begun == [ShutdownReason.POWEROFF], f"seed {seed}: begun once"
        assert len(domain.cleared) == 1, f"seed {seed}: {domain.cleared}"
        assert domain.words is not None
        assert domain.words.forced is None, f"seed {seed}"
        assert ended <= START + moment + 1.0 + 2.0 + 3.0 + 1.0 + 0.5, f"seed {seed}"


@pytest.mark.parametrize("react", KERNELS)
@pytest.mark.parametrize(("note", "allowed"), [(None, 40.0), (20, 15.0), (3600, 40.0)])
def test_a_guest_whose_user_space_hangs_forces_its_own_end_whoever_is_first(
    react: float, note: int | None, allowed: float
) -> None:
    for seed in SEEDS:
        character = GuestProfile(
            Behaviour.HANGS, agent=True, react=react, shutdown=INF, deadline=40.0, script=3.0
        )
        domain, reason, ended = play(character, asks("poweroff", note), seed=seed)
        assert reason is ShutdownReason.POWEROFF, f"seed {seed}"
        assert len(domain.cleared) == 1, f"seed {seed}: {domain.cleared}"
        assert len(domain.guest.begun) == 1, f"seed {seed}"
        assert allowed <= ended - START <= allowed + 2.0 + 2.0 + 0.3, f"seed {seed}"
        assert domain.words is not None
        assert domain.words.forced is not None
        assert domain.words.forced.request == "poweroff"


@pytest.mark.parametrize("moment", [0.1, 1.0, 2.0 - 1e-6, 2.0, 2.0 + 1e-6, 3.0])
@pytest.mark.parametrize("note", [None, 60])
def test_what_is_taken_back_is_either_taken_or_forgotten_never_both(
    moment: float, note: int | None
) -> None:
    for seed in SEEDS:
        taken: list[bool] = []

        async def story(domain: Domain, taken: list[bool] = taken) -> None:
            domain.ask("poweroff", note)
            await CLOCK.sleep(moment)
            taken.append(domain.clear_request())

        character = GuestProfile(agent=True, react=INF)
        domain, reason, _ = play(character, story, seed=seed)
        assert taken == [reason is not None], f"seed {seed}"
        assert len(domain.cleared) == 1, f"seed {seed}"
        if reason is None:
            assert domain.guest.begun == [], f"seed {seed}"


@pytest.mark.parametrize("react", [0.0, INF])
def test_a_suspend_is_the_kernels_own(react: float) -> None:
    character = GuestProfile(agent=True, react=react)
    domain, reason, ended = play(character, asks("suspend", None))
    if react == 0.0:
        assert (reason, ended) == (ShutdownReason.SUSPEND, pytest.approx(START + 0.1))
    else:
        assert reason is None
        assert domain.read("control/shutdown") == b"suspend"
    assert domain.words is not None
    assert domain.words.progress is None


def test_nonsense_in_the_node_is_left_there_and_ends_nothing() -> None:
    async def story(domain: Domain) -> None:
        for number in range(50):
            domain.host.write(f"{domain.home}/control/shutdown", b"\xff\0" * number + b"!")
            await CLOCK.sleep(0.5)

    domain, reason, _ = play(GuestProfile(agent=True), story)
    assert reason is None
    assert domain.guest.begun == []
    assert domain.cleared == []


@pytest.mark.parametrize("second", ["poweroff", "reboot", "halt"])
def test_a_second_request_changes_nothing_of_a_poweroff(second: str) -> None:
    for seed in SEEDS:

        async def story(domain: Domain) -> None:
            domain.ask("poweroff", None)
            await CLOCK.sleep(3)
            domain.ask(second, None)

        character = GuestProfile(agent=True, shutdown=30.0, deadline=200.0)
        domain, reason, ended = play(character, story, seed=seed)
        assert (reason, ended) == (ShutdownReason.POWEROFF, pytest.approx(START + 30.0, abs=0.01))
        assert domain.guest.begun == [ShutdownReason.POWEROFF]
        assert domain.read("control/shutdown") == b"", "it is acknowledged all the same"


def test_a_poweroff_during_a_reboot_that_hangs_ends_in_a_poweroff() -> None:
    async def story(domain: Domain) -> None:
        domain.ask("reboot", None)
        await CLOCK.sleep(3)
        domain.ask("poweroff", None)

    character = GuestProfile(Behaviour.HANGS, agent=True, shutdown=INF, deadline=20.0)
    domain, reason, _ = play(character, story)
    assert reason is ShutdownReason.POWEROFF
    assert domain.read("control/shutdown") == b"", "the kernel reads no more: the agent took it"


@pytest.mark.parametrize("granted", [True, False])
def test_time_that_the_host_grants_moves_the_end_and_time_that_it_refuses_does_not(
    granted: bool,
) -> None:
    async def story(domain: Domain) -> None:
        domain.ask("poweroff", 30)
        await CLOCK.sleep(5)
        assert domain.words is not None
        assert domain.words.more is not None
        answer = Answer(domain.words.more.id, 55 if granted else None, "no more is granted")
        domain.host.write(f"{domain.home}/{paths.AGENT}/answer", encode_answer(answer))

    character = GuestProfile(agent=True, script=45.0, shutdown=1.0, more=30.0)
    domain, reason, ended = play(character, story)
    assert reason is ShutdownReason.POWEROFF
    assert domain.words is not None
    assert (domain.words.forced is None) is granted
    expected = START + (45.0 + 1.0 if granted else 22.5)
    assert ended == pytest.approx(expected, abs=0.01)


def test_a_guest_that_shuts_down_by_itself_runs_its_scripts_too() -> None:
    character = GuestProfile(Behaviour.QUITS, agent=True, after=30.0, script=4.0, shutdown=1.0)

    async def story(domain: Domain) -> None:
        """Nobody asks."""

    domain, reason, ended = play(character, story)
    assert (reason, ended) == (ShutdownReason.POWEROFF, pytest.approx(2.0 + 30.0 + 5.0, abs=0.01))
    assert domain.words is not None
    assert domain.words.progress is not None
