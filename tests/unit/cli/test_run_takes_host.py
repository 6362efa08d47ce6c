"""Which run waits for another one, and for how long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamplighter.cli.running import LOCK_WAIT, _take_host
from lamplighter.errors import HostBusy
from lamplighter.host.clock import LoopClock
from lamplighter.host.lock import hold_host
from lamplighter.model.configuration import Configuration, HostSettings
from lamplighter.model.plan import Direction
from lamplighter.model.policy import Setting
from lamplighter.service.unit_status import UnitStatus
from tests import virtual

if TYPE_CHECKING:
    from pathlib import Path

SINCE = datetime(2025, 3, 1, tzinfo=UTC)


class Host:
    """A host that another run holds for so many seconds, or for ever."""

    def __init__(self, folder: Path, held: float) -> None:
        self.folder = folder
        self.configuration = Configuration("", HostSettings(run=Setting(str(folder))))
        self.held = held
        self.waited = 0.0

    async def take(self, status: UnitStatus) -> None:
        clock = LoopClock()
        other = asyncio.create_task(self._other(clock))
        await clock.sleep(0.1)
        try:
            mine = await _take_host(self.configuration, Direction.DOWN, status, clock)
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


def test_under_systemd_a_run_waits_for_another_and_says_so(tmp_path: Path) -> None:
    host, status = Host(tmp_path, held=300), UnitStatus(Direction.DOWN, active=True)
    virtual.run(host.take(status))
    assert 300 <= host.waited <= 302
    assert status.text.startswith("stopping: waiting: another run holds this host: up (pid ")


def test_but_not_for_ever(tmp_path: Path) -> None:
    host, status = Host(tmp_path, held=10 * LOCK_WAIT), UnitStatus(Direction.DOWN, active=True)
    with pytest.raises(HostBusy):
        virtual.run(host.take(status))
    assert LOCK_WAIT <= host.waited <= LOCK_WAIT + 2


def test_by_hand_it_is_told_at_once_who_holds_the_host(tmp_path: Path) -> None:
    host, status = Host(tmp_path, held=300), UnitStatus(Direction.DOWN, active=False)
    with pytest.raises(HostBusy):
        virtual.run(host.take(status))
    assert host.waited < 1
