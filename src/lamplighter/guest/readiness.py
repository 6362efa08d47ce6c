"""Determines whether the guest is ready: its boot has ended and the administrator's checks pass.

    booting --boot ended--> checking 1 --exit 0--> checking 2 ... --exit 0--> ready
                              |    ^
                    otherwise v    | after 5 s, 10 s, ... 60 s
                            waiting

Each time the checks are listed again, so corrections, additions and removals take effect. A check
that has passed does not run again.

``Readiness`` decides what to start next and when it wants to be woken; ``BootWatch`` starts it.
systemd reports the end of the boot: ``systemctl is-system-running --wait`` ends then. Before
systemd 240, which does not support this, it is asked every five seconds while the boot lasts. Other
inits start the agent last.
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING

from lamplighter.guest.processes import child_environment, problem_of
from lamplighter.guest.scripts import find_programs, owners
from lamplighter.guest.systemd import systemd_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.guest.config import Paths
    from lamplighter.guest.log import Log
    from lamplighter.guest.processes import Children
    from lamplighter.guest.scripts import Program

BOOTING = "the system is still booting"

GOING = "the system is shutting down"

#: The shortest and the longest pause, in seconds, until a failed check is tried again.
FIRST_PAUSE, LAST_PAUSE = 5.0, 60.0

ASK = ("systemctl", "is-system-running")

STILL = ("", "initializing", "starting")

#: The system is shutting down, and the agent was restarted in the middle of that.
STOPPING = "stopping"

#: Somebody has to repair the system, and will then reboot it or let it continue.
MAINTENANCE = "maintenance"

RESCUE = "the system is in rescue or emergency mode"

#: Seconds between two queries of systemd where it cannot be waited for, and where it has stopped
#: before the end of the boot.
PAUSE, LONG_PAUSE = 5.0, 60.0


class Readiness:
    """The state machine of the guest's readiness.

    ``ready`` and ``waits_for`` are what to report to the host. ``wake`` is when ``set_checks`` is
    due, ``overdue`` when the running check is to be terminated.
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

    def set_checks(self, checks: list[Program], now: float) -> Program | None:
        """Set the checks, once the system has booted; return the one to run now, if any."""
        self._checks = [check for check in checks if check.name not in self._passed]
        return self._next(now)

    def ended(self, problem: str | None, now: float) -> Program | None:
        """Handle the end of the running check (no ``problem``: passed); return the next one."""
        check, self.running, self.overdue = self.running, None, inf
        if check is None or self._over:
            return None
        if problem is None:
            self._passed.add(check.name)
            del self._checks[:1]
            self._pause = FIRST_PAUSE
            return self._next(now)
        self.waits_for = f"{check.name}: {problem}"
        self.wake = now + self._pause
        self._pause = min(LAST_PAUSE, self._pause * 2)
        return None

    def give_up(self) -> None:
        """Stop all checks for good: the system is shutting down."""
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


class BootWatch:
    """Follows the boot, runs the checks and calls ``report(ready, waits_for)`` on every change."""

    def __init__(
        self,
        places: Paths,
        deadline: float,
        children: Children,
        log: Log,
        report: Callable[[bool, str], None],
    ) -> None:
        self._folder = places.checks
        self._deadline = deadline
        self._children = children
        self._log = log
        self._report = report
        self._reported: tuple[bool, str] | None = None
        self._readiness = Readiness()
        self._check = 0
        self._asking = 0
        self._answer = -1
        self._ask_again = inf
        self._over = False
        self._problems: list[str] = []

    @property
    def wake(self) -> float:
        """When ``tick`` is due."""
        return min(self._readiness.wake, self._readiness.overdue, self._ask_again)

    def begin(self, now: float) -> None:
        """Report that the system is booting, and wait for the end of the boot."""
        self._report_changes()
        if systemd_runs():
            self._ask(now, "--wait")
        else:
            self._find_checks(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._ask_again:
            self._ask_again = inf
            self._ask(now)
        if now >= self._readiness.overdue:
            self._readiness.overdue = inf
            self._children.end(self._check, now)
        if now >= self._readiness.wake:
            self._find_checks(now)

    def ended(self, pid: int, code: int, now: float) -> bool:
        """Return whether this process was started here, and if so, continue."""
        if pid == self._check:
            self._check = 0
            self._run(self._readiness.ended(problem_of(code), now), now)
            return True
        if pid != self._asking:
            return False
        self._asking = 0
        os.set_blocking(self._answer, False)
        try:
            state = os.read(self._answer, 256).decode("ascii", "replace").strip()
        except BlockingIOError:
            state = ""
        os.close(self._answer)
        if self._over:
            return True
        if state in STILL:
            self._readiness.waits_for = BOOTING
            self._ask_again = now + PAUSE
            self._report_changes()
        elif state == STOPPING:
            self.give_up(now)
        elif state == MAINTENANCE:
            self._readiness.waits_for = RESCUE
            self._ask_again = now + LONG_PAUSE
            self._report_changes()
        else:
            self._log.note(f"the system has booted: {state}")
            self._find_checks(now)
        return True

    def give_up(self, now: float) -> None:
        """Terminate what runs and start nothing more: the system is shutting down."""
        self._readiness.give_up()
        self._over, self._ask_again = True, inf
        for pid in (self._asking, self._check):
            if pid:
                self._children.end(pid, now)
        self._report_changes()

    # --- booting ---

    def _ask(self, now: float, *options: str) -> None:
        ours, theirs = os.pipe()
        try:
            self._asking = self._children.start([*ASK, *options], os.environ, theirs)
            self._answer = ours
        except OSError as error:
            self._log.warn(f"systemctl cannot be started: {error.strerror}")
            os.close(ours)
            self._find_checks(now)
        finally:
            os.close(theirs)

    # --- checking ---

    def _find_checks(self, now: float) -> None:
        checks, problems = find_programs(self._folder, self._deadline, owners())
        for problem in problems:
            if problem not in self._problems:
                self._log.warn(problem)
        self._problems = problems
        self._run(self._readiness.set_checks(checks, now), now)

    def _run(self, check: Program | None, now: float) -> None:
        while check is not None:
            problem = check.refused(owners())
            try:
                if problem is None:
                    self._check = self._children.start([check.path], child_environment())
                    break
            except OSError as error:
                problem = f"it cannot be started: {error.strerror}"
            check = self._readiness.ended(problem, now)
        self._report_changes()

    def _report_changes(self) -> None:
        report = (self._readiness.ready, self._readiness.waits_for)
        if report != self._reported:
            self._reported = report
            self._report(*report)
