"""Which run waits for another one and for how long, and that the host's stop wins."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamplighter.engine import timing
from lamplighter.errors import HostBusy
from lamplighter.host.clock import LoopClock
from lamplighter.host.lock import hold_host, read_holder, signal_holder
from lamplighter.model.policy import Configuration, HostSettings, Setting
from lamplighter.model.run import Direction
from lamplighter.service.run.takeover import Takeover, take_host
from lamplighter.service.unit.systemd_status import UnitStatus
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SINCE = datetime(2025, 3, 1, tzinfo=UTC)
CALL = 20.0

#: Holds the host and says which signals come; ends at the N-th of them.
HOLDER = """
import signal, sys
from datetime import UTC, datetime
from pathlib import Path
from lamplighter.host.lock import hold_host
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with hold_host(Path(sys.argv[1]), command="up", since=datetime(2025, 3, 1, tzinfo=UTC)):
    print("held", flush=True)
    for _ in range(int(sys.argv[2])):
        print(signal.sigwait([signal.SIGTERM]).name, flush=True)
"""


@contextmanager
def other_run(directory: Path, *, ends_at: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), str(ends_at)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


class Host:
    """A host that another task of this process holds for so many seconds, or for ever."""

    def __init__(self, folder: Path, held: float) -> None:
        self.folder = folder
        self.configuration = configuration(folder)
        self.held = held
        self.waited = 0.0

    async def take(
        self, status: UnitStatus, direction: Direction = Direction.UP, *, everything: bool = True
    ) -> None:
        clock = LoopClock()
        other = asyncio.create_task(self._other(clock))
        await clock.sleep(0.1)
        try:
            mine = await take_host(
                self.configuration, direction, status, clock, everything=everything
            )
            with pytest.raises(HostBusy), hold_host(self.folder, command="up", since=SINCE):
                pass
            mine.close()
            with hold_host(self.folder, command="up", since=SINCE):
                pass
        finally:
            self.waited = clock.monotonic()
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)

    async def _other(self, clock: LoopClock) -> None:
        with hold_host(self.folder, command="up", since=SINCE):
            await clock.sleep(self.held)


def configuration(folder: Path) -> Configuration:
    settings = HostSettings(run=Setting(str(folder)), call_timeout=Setting(CALL))
    return Configuration("", settings)


def active(direction: Direction) -> UnitStatus:
    return UnitStatus(direction, active=True)


def test_under_systemd_a_start_waits_for_another_run_and_says_so(tmp_path: Path) -> None:
    host, status = Host(tmp_path, held=300), active(Direction.UP)
    virtual.run(host.take(status))
    assert 300 <= host.waited <= 302
    assert status.text.startswith("starting: waiting: another run holds this host: up (pid ")


def test_but_not_for_ever(tmp_path: Path) -> None:
    host = Host(tmp_path, held=10 * timing.LOCK_WAIT)
    with pytest.raises(HostBusy):
        virtual.run(host.take(active(Direction.UP)))
    assert timing.LOCK_WAIT <= host.waited <= timing.LOCK_WAIT + 2


def test_a_stop_waits_longer_than_it_takes_to_kill(tmp_path: Path) -> None:
    # The holder is this very process, which is sent no signal.
    host = Host(tmp_path, held=10 * timing.LOCK_WAIT)
    with pytest.raises(HostBusy):
        virtual.run(host.take(active(Direction.DOWN), Direction.DOWN))
    assert host.waited >= timing.LOCK_WAIT + CALL + timing.ORDERLY_END + timing.DROPPED_END


def test_by_hand_it_is_reported_at_once_who_holds_the_host(tmp_path: Path) -> None:
    host, status = Host(tmp_path, held=300), UnitStatus(Direction.DOWN, active=False)
    with pytest.raises(HostBusy):
        virtual.run(host.take(status, Direction.DOWN))
    assert host.waited < 1


def test_the_holder_is_signalled_once_and_then_given_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with other_run(tmp_path, ends_at=2) as holder:
        assert holder.stdout is not None
        takeover = Takeover(tmp_path, CALL)
        for now in (0.0, 1.0, CALL, CALL + timing.ORDERLY_END - 0.1):
            takeover.press(1000 + now)
        assert holder.stdout.readline() == "SIGTERM\n"
        assert len(caplog.messages) == 1
        takeover.press(1000 + CALL + timing.ORDERLY_END)
        assert holder.stdout.readline() == "SIGTERM\n"
        assert holder.wait(10) == 0
    first, second = caplog.messages
    assert first.startswith(f"the host stops: up (pid {holder.pid}, ")
    assert first.endswith("is told to end (SIGTERM)")
    assert second.endswith("did not end within 30 s: it is told to drop everything")


def test_only_who_does_nothing_of_that_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with other_run(tmp_path, ends_at=99) as holder:
        takeover = Takeover(tmp_path, CALL)
        for now in (0.0, CALL + timing.ORDERLY_END, takeover.longest - 0.1):
            takeover.press(now)
            assert holder.poll() is None
        takeover.press(takeover.longest)
        assert holder.wait(10) == -signal.SIGKILL
        takeover.press(takeover.longest + 1)
    assert len(caplog.messages) == 3
    assert "did not end within another 60 s: it is killed" in caplog.messages[-1]


def test_a_holder_that_was_stopped_with_a_key_goes_on_and_hears_it(tmp_path: Path) -> None:
    with other_run(tmp_path, ends_at=1) as holder:
        holder.send_signal(signal.SIGSTOP)
        Takeover(tmp_path, CALL).press(0.0)
        assert holder.wait(10) == 0


def test_the_next_holder_is_signalled_from_the_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    takeover = Takeover(tmp_path, CALL)
    for now in (0.0, 5000.0):
        with other_run(tmp_path, ends_at=1) as holder:
            takeover.press(now)
            assert holder.wait(10) == 0
    assert [line.endswith("is told to end (SIGTERM)") for line in caplog.messages] == [True, True]


@pytest.mark.parametrize(("direction", "everything"), [
    (Direction.UP, True),
    (Direction.DOWN, False),
])  # fmt: skip
def test_nothing_but_the_stop_of_all_sends_signals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    direction: Direction,
    *,
    everything: bool,
) -> None:
    monkeypatch.setattr(timing, "LOCK_WAIT", 0.1)
    monkeypatch.setattr(timing, "LOCK_PAUSE", 0.02)
    with other_run(tmp_path, ends_at=1) as holder:
        with pytest.raises(HostBusy):
            asyncio.run(
                take_host(
                    configuration(tmp_path),
                    direction,
                    active(direction),
                    LoopClock(),
                    everything=everything,
                )
            )
        assert holder.poll() is None
    assert caplog.messages == []


def test_the_host_s_stop_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timing, "LOCK_PAUSE", 0.02)
    with other_run(tmp_path, ends_at=1) as holder:
        taken = asyncio.run(
            take_host(
                configuration(tmp_path),
                Direction.DOWN,
                active(Direction.DOWN),
                LoopClock(),
            )
        )
        assert holder.wait(10) == 0
        mine = read_holder(tmp_path)
        assert mine is not None
        assert mine.description.startswith("down (pid ")
        taken.close()
    assert read_holder(tmp_path) is None
    assert len(caplog.messages) == 1


def test_a_number_that_another_process_has_now_is_sent_nothing(tmp_path: Path) -> None:
    with other_run(tmp_path, ends_at=1) as holder:
        seen = read_holder(tmp_path)
        assert seen is not None
        assert seen.pid == holder.pid
        assert not signal_holder(seen._replace(began="1"), signal.SIGKILL)
        assert holder.poll() is None
        holder.kill()
        holder.wait(10)
        assert not signal_holder(seen, signal.SIGTERM)
    assert read_holder(tmp_path) is None
