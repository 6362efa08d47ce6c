"""What never ends is found to, and fails, instead of hanging whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests import virtual
from tests.simulation import playing
from tests.simulation.process import CLOCK
from tests.simulation.saw import Saw, Sights, missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def _circle() -> None:
    while True:
        await CLOCK.sleep(0)


async def _plain_circle() -> None:
    while True:
        pass


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_loop_that_turns_while_time_stands_still_is_reported() -> None:
    with pytest.raises(RuntimeError, match="livelock"):
        virtual.run(_circle(), seed=1)


def test_a_wait_for_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "STUCK_AFTER", 0.01)
    with pytest.raises(RuntimeError, match="deadlock"):
        virtual.run(_forever(), seed=1)


@pytest.mark.parametrize("endless", [_circle, _plain_circle])
def test_a_seed_has_a_limit_of_real_time(
    endless: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "LIMIT", 0.1)
    monkeypatch.setattr(virtual, "TURNS", float("inf"))
    monkeypatch.setattr(playing, "play", lambda seed: virtual.run(endless(), seed=seed))
    played = playing.played(7)
    assert played.wrong == "seed 7: it did not end within 0.1 real seconds"


def test_what_never_came_is_named() -> None:
    sights = Sights({one: 1 for one in Saw if one is not Saw.DROPPED})
    assert missing(sights) == ["a run was told to drop everything"]
