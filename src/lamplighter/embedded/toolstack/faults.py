"""Calls that go wrong on purpose: the next so many calls of one name fail, hang or take long."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import CallFailed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lamplighter.model.clock import Clock


class How(Enum):
    """What a call does instead."""

    FAIL = "fail"  # it says that it failed, and does nothing
    HALF = "half"  # a create dies over it and leaves the domain half made; others fail
    HANG = "hang"  # it never returns, and does nothing
    SLOW = "slow"  # it does what it should, but later, even for a caller who has gone


class Fault(NamedTuple):
    """What the next call does; ``seconds`` is how much later a slow one acts."""

    how: How
    seconds: float = 0.0


class Faults:
    """What is wrong with the next calls, by their names, in the order in which they were set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, deque[Fault]] = {}

    def set(self, call: str, fault: Fault, times: int) -> None:
        """Let the next calls of this name go wrong, after those that are to go wrong already."""
        self._next.setdefault(call, deque()).extend([fault] * times)

    def clear(self) -> None:
        """Let every call do what it should."""
        self._next.clear()

    async def before(self, call: str, meanwhile: AbstractContextManager[None]) -> bool:
        """Do what is wrong with this call; return when it is to go on, and whether half way only.

        ``meanwhile`` is entered while a slow call, which will act, has not acted yet.
        """
        pending = self._next.get(call)
        if not pending:
            return False
        fault = pending.popleft()
        match fault.how:
            case How.HALF if call == "create":
                return True
            case How.FAIL | How.HALF:
                raise CallFailed(f"{call} failed, as it was told to")
            case How.HANG:
                await asyncio.get_running_loop().create_future()
            case How.SLOW:
                with meanwhile:
                    await self._clock.sleep(fault.seconds)
        return False
