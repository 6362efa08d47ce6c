"""Fault injection: the next calls of a given name fail, die half way, hang or are slow."""

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
    """What a faulty call does."""

    FAIL = "fail"  # it reports a failure and does nothing
    HALF = "half"  # a create dies and leaves the domain half built; other calls fail
    HANG = "hang"  # it never returns, and does nothing
    SLOW = "slow"  # it does what it should, but later, even if its caller has gone


class Fault(NamedTuple):
    """The fault of one call; ``seconds`` is how much later a slow call acts."""

    how: How
    seconds: float = 0.0


class Faults:
    """The faults of the next calls, by the calls' names, in the order in which they were set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, deque[Fault]] = {}

    def set(self, call: str, fault: Fault, times: int) -> None:
        """Add a fault for the next ``times`` calls of this name, after those set before."""
        self._next.setdefault(call, deque()).extend([fault] * times)

    def clear(self) -> None:
        """Remove all faults."""
        self._next.clear()

    async def before(self, call: str, meanwhile: AbstractContextManager[None]) -> bool:
        """Apply this call's next fault, if any; return whether the call must stop half way.

        Raises ``CallFailed`` for a call that fails; never returns for one that hangs. ``meanwhile``
        is entered while a slow call waits before it acts.
        """
        pending = self._next.get(call)
        if not pending:
            return False
        fault = pending.popleft()
        match fault.how:
            case How.HALF if call == "create":
                return True
            case How.FAIL | How.HALF:
                raise CallFailed(f"{call} failed: an injected fault")
            case How.HANG:
                await asyncio.get_running_loop().create_future()
            case How.SLOW:
                with meanwhile:
                    await self._clock.sleep(fault.seconds)
        return False
