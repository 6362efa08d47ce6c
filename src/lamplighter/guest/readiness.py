"""When the guest is ready, decided: its boot has ended and the administrator's checks pass.

    booting --boot ended--> checking 1 --exit 0--> checking 2 ... --exit 0--> ready
                              |    ^
                    otherwise v    | after 5 s, 10 s, ... 60 s
                            waiting

Each time it is said anew which checks there are: one that was mended, added or taken away meanwhile
is. One that has passed is not run again.

``Readiness`` says what to start next and when it wants to be woken; it starts nothing itself. Once
the guest is ready, or goes, nothing of it ever wakes up again.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamplighter.guest.scripts import Program

BOOTING = "the system is still booting"
GOING = "the system is shutting down"

#: Seconds from a check that failed to the next time that it is tried.
FIRST_PAUSE, LAST_PAUSE = 5.0, 60.0


class Readiness:
    """Where the guest stands on its way to being ready.

    ``ready`` and ``waits_for`` are what to tell the host. ``wake`` is when ``look`` is wanted.
    ``overdue`` is when the check that runs is to be ended.
    """

    def __init__(self) -> None:
        self.ready = False
        self.waits_for = BOOTING
        self.wake = inf
        self.overdue = inf
        self.running: Program | None = None
        self._checks: list[Program] = []
        self._passed: set[str] = set()
        self._pause = FIRST_PAUSE
        self._over = False

    def look(self, checks: list[Program], now: float) -> Program | None:
        """The system has booted and these checks are there; return the one to run now, if any."""
        self._checks = [check for check in checks if check.name not in self._passed]
        return self._next(now)

    def ended(self, problem: str, now: float) -> Program | None:
        """The check that ran has ended; ``problem`` is empty when it passed. Return the next."""
        check, self.running, self.overdue = self.running, None, inf
        if check is None or self._over:
            return None
        if not problem:
            self._passed.add(check.name)
            del self._checks[:1]
            self._pause = FIRST_PAUSE
            return self._next(now)
        self.waits_for = f"{check.name}: {problem}"
        self.wake = now + self._pause
        self._pause = min(LAST_PAUSE, self._pause * 2)
        return None

    def give_up(self) -> None:
        """The system goes: nothing is tried any more."""
        self._over, self.wake = True, inf
        if not self.ready:
            self.waits_for = GOING

    def _next(self, now: float) -> Program | None:
        self.wake = inf
        if self._over:
            return None
        if not self._checks:
            self.ready, self.waits_for = True, ""
            return None
        self.running = self._checks[0]
        self.overdue = now + self.running.deadline
        if self._pause == FIRST_PAUSE:
            self.waits_for = f"{self.running.name}: running"
        return self.running
