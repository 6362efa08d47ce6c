"""An event loop on virtual time, with a seeded order of the tasks that are ready.

Time stands still while anything can run, and jumps to the next timer when nothing can; where it
stands still for too many turns of the loop, that is an error, and the same one every time. Sockets
work as usual (inside one process what is written is readable at once), threads do not belong
here. With a seed, ready tasks run in a shuffled order that the seed replays exactly; callbacks
that are not a task's step keep their order, because transports rely on it.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from lamplighter.host.clock import LoopClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

T = TypeVar("T")

#: Real seconds after which a loop that waits for nothing but the outside is called stuck.
STUCK_AFTER = 5.0

#: After so many turns of the loop in which time stood still it is said to run in a circle.
TURNS = 100_000

#: The date at which virtual time begins.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

#: A timer is set for now, or for no sooner than so many seconds from now: asyncio runs one up to a
#: nanosecond early, and who then waited for the rest would do so for ever if time stood still.
LEAST = 2e-9


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits for a timer: it moves the loop's time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if self._turns > TURNS:
            self._turns = 0
            raise RuntimeError(f"livelock: {TURNS} turns of the loop, and time stands still")
        # The loop's own wake-up is for threads; there may be nothing else to look at.
        if len(self._fd_to_key) > 1 and (events := super().select(0)):
            return events
        if timeout is None:
            if events := super().select(STUCK_AFTER):
                return events
            raise RuntimeError("deadlock: no task can run and no timer is set")
        if timeout > 0:
            self.now += timeout
            self._turns = 0
        return []


class VirtualClock(LoopClock):
    """A clock whose date is virtual, too, so that what is told with its date replays exactly."""

    def wall(self) -> datetime:
        """The date that virtual time has come to."""
        return EPOCH + timedelta(seconds=self.monotonic())


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector loop on virtual time; ``seed`` shuffles the steps of ready tasks."""

    def __init__(self, seed: int | None = None) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._random = random.Random(seed) if seed is not None else None

    def time(self) -> float:
        return self._jumping.now

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        now = self.time()
        if now < when < now + LEAST:
            when = now + LEAST
        return super().call_at(when, callback, *args, context=context)

    def _run_once(self) -> None:
        if self._random is not None and len(self._ready) > 1:
            self._shuffle_ready()
        super()._run_once()

    def _shuffle_ready(self) -> None:
        ready = self._ready
        places = [
            i
            for i, handle in enumerate(ready)
            if isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)
        ]
        if len(places) < 2:
            return
        handles = [ready[i] for i in places]
        self._random.shuffle(handles)
        for place, handle in zip(places, handles, strict=True):
            ready[place] = handle


def run(main: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run a coroutine to its end on virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main)
