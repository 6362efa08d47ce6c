"""The guard: a process that forces the guest's end at a set time, whatever else has failed.

The agent forks it when a shutdown begins; everything it needs is loaded and opened before it
sleeps. It has no state but its current order, which is the last one it received and stays in force
whatever becomes of the agent. Orders come through a named pipe:

    poweroff 5231.25              force a poweroff at this time of the system's clock
    poweroff 5231.25 or sooner    ... unless the current order comes sooner

A restarted agent finds the pipe, and a guard that reads it, and gives its orders there, so there is
never more than one guard. The new agent does not know when the shutdown began, nor what the host
has granted since. So the current order is also kept in a file beside the pipe, together with what
it follows from (``Arm.basis``). An order that follows from the same, or from less, is
replaced by the one in the file: however often the agent dies, the end is neither delayed nor
brought forward. Without such a file the new agent's first order is of the second kind. Without a
pipe (``/run`` is full) a guard only has the order it was forked with, and each further order needs
a new guard. Only root can write to the pipe.

Two seconds before the set time a child of the guard reports to the host and has the disks written.
At the set time, whatever came of that, the guard ends the system; in case that hangs in a driver,
another child presses SysRq. The host needs the two seconds to read the report, because the node
goes with the domain.
"""

from __future__ import annotations

import gc
import os
import select
import signal
from contextlib import suppress
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import LamplighterError
from lamplighter.formats.agent_protocol import REQUESTS, Forced, encode_forced
from lamplighter.guest.clock import milliseconds, now
from lamplighter.guest.hardening import close_all_but, detach, harden
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.guest.log import Log
    from lamplighter.guest.power import Power

#: Seconds before the end for the report to the host and the write of the disks, together.
REPORT_TIME = 2.0
#: Seconds of these that a request to XenStore may take.
REPORT_TIMEOUT = 0.5
#: Seconds that reading all of the guard's memory in may take.
LOCK_TIMEOUT = 5.0
#: Seconds that reboot(2) may take before SysRq is tried.
SYSRQ_DELAY = 10.0

#: Seconds until the agent tries again to fork a guard.
RETRY_PAUSE = 5.0

OR_SOONER = " or sooner"

#: The most bytes of orders that are read at once.
ORDERS_MAX = 4096


class Order(NamedTuple):
    """Force this ``request`` at this time, which follows from this ``basis``; see ``Arm``."""

    request: str
    at: float
    basis: str = ""

    def follows_from(self, basis: str) -> bool:
        """Return whether the order follows from ``basis``; an empty part of it is unknown."""
        (note, _, grant), (its_note, _, its_grant) = basis.partition("/"), self.basis.partition("/")
        return note in ("", its_note) and grant in ("", its_grant)


def encode_order(order: Order, *, or_sooner: bool = False) -> bytes:
    """Return an order as a line; ``or_sooner``: the current order stays if it comes sooner."""
    return f"{order.request} {order.at!r}{OR_SOONER if or_sooner else ''}\n".encode("ascii")


def apply_orders(current: Order, lines: bytes) -> Order:
    """Return the order in force after these lines; invalid lines are ignored."""
    for line in lines.decode("ascii", "replace").split("\n"):
        text = line.removesuffix(OR_SOONER)
        order = _parse_order(text)
        if order is not None and (text == line or order.at < current.at):
            current = order
    return current


def _parse_order(line: str) -> Order | None:
    request, _, moment = line.partition(" ")
    with suppress(ValueError):
        at = float(moment)
        if request in REQUESTS and (isfinite(at) or at == inf):
            return Order(request, at)
    return None


# --- the agent's side ----------------------------------------------------------------------------


class Guard:
    """The agent's interface to the guard: gives it orders, and forks it if there is none."""

    def __init__(self, pipe: str, xenstore: str, power: Power, log: Log) -> None:
        self._pipe = pipe
        self._kept = f"{pipe}-order"
        self._xenstore = xenstore
        self._power = power
        self._log = log
        self._order: Order | None = None
        self._pid = 0
        self._failed = False
        self._known = False  # the running guard has had an order from this agent
        self._again = inf

    @property
    def wake(self) -> float:
        """When ``tick`` is due; infinite while there is nothing to try again."""
        return self._again

    def tick(self, moment: float) -> None:
        """Try again to fork a guard, once that is due."""
        if moment >= self._again and self._order is not None:
            self.arm(self._order)

    @property
    def runs(self) -> bool:
        """Whether there is a guard that takes orders, from this agent or an earlier one."""
        with suppress(OSError):
            os.close(self._open())
            return True
        return False

    @property
    def grant(self) -> str:
        """The id of the grant that the current order follows from; empty if there is none."""
        current = self._read() if self.runs else None
        return current.basis.partition("/")[2] if current is not None else ""

    def arm(self, order: Order) -> None:
        """Give this order, or keep the current one if it follows from the same ``basis``."""
        current = self._read() if self.runs else None
        sure = self._known or current is not None or not self.runs
        if current is not None and current.follows_from(order.basis):
            # As in ``handshake``: a reboot may become a power-off, and nothing else changes.
            request = order.request if current.request == "reboot" else current.request
            order = current._replace(request=request)
        self._order, self._again = order, inf
        if sure:
            # An outdated or incomplete order in the file would be worse than none.
            new_file = f"{self._kept}.new"
            try:
                with open(new_file, "wb") as file:
                    file.write(encode_order(order) + f"{order.basis}\n".encode("ascii"))
                os.replace(new_file, self._kept)
            except OSError as error:
                reason = f"{error.strerror}; a new agent may bring the end forward"
                self._log.warn(f"{self._kept}: {reason}")
                for path in (new_file, self._kept):
                    with suppress(OSError):
                        os.unlink(path)
        taken = False
        with suppress(OSError):
            pipe = self._open()
            try:
                taken = os.write(pipe, encode_order(order, or_sooner=not sure)) > 0
            finally:
                os.close(pipe)
        if not taken:
            # Our old guard, which took no order, would act at its old time.
            old, new = self._pid, self._fork(order)
            if new:
                self._pid = new
            else:
                self._again = now() + RETRY_PAUSE
            if old and new:
                with suppress(ProcessLookupError):
                    os.kill(old, signal.SIGKILL)
        self._known = True

    def ended(self, pid: int, code: int) -> bool:
        """Return whether this process was the guard; a guard that was killed is replaced.

        One that failed is replaced only once: the next one may fail for the same reason.
        """
        if pid != self._pid or not pid:
            return False
        self._pid = 0
        if code == 0:
            self._log.warn("the guard has done all it can, and the system is still there")
        elif code > 0 and self._failed:
            self._log.warn("the guard has failed again: nothing forces the end")
        elif self._order is not None:
            what = "failed" if code > 0 else "was killed"
            self._failed = self._failed or code > 0
            self._log.warn(f"the guard {what}: another one takes its place")
            self.arm(self._order)
        return True

    def _open(self) -> int:
        return os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def _read(self) -> Order | None:
        """Return the order in the file; None if there is none."""
        with suppress(OSError), open(self._kept, encoding="ascii", errors="replace") as file:
            line, _, basis = file.read(ORDERS_MAX).rstrip("\n").partition("\n")
            order = _parse_order(line)
            return order._replace(basis=basis) if order is not None else None
        return None

    def _fork(self, order: Order) -> int:
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._pipe)
            os.mkfifo(self._pipe, 0o600)
            # Open for writing as well, so that reads never return end of file.
            pipe = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._log.warn(f"{self._pipe}: {error.strerror}; the deadline cannot be moved")
            pipe = -1
        try:
            pid = os.fork()
        except OSError as error:
            retry = f"it is tried again in {RETRY_PAUSE:g} s"
            self._log.warn(f"there is no guard that forces the end: {error.strerror}; {retry}")
            pid = -1
        if pid == 0:
            try:
                _run_guard(pipe, order, self._xenstore, self._power, self._log)
                os._exit(0)
            finally:
                os._exit(1)
        if pipe >= 0:
            os.close(pipe)
        return max(pid, 0)


# --- the guard -----------------------------------------------------------------------------------


def _run_guard(pipe: int, order: Order, xenstore: str, power: Power, log: Log) -> None:
    """Run the guard; returns only in a rehearsal or if the force had no effect."""
    begun = now()  # the preparation below takes seconds on a busy machine
    detach()
    gc.disable()
    missing = power.prepare()
    bus: Bus | None = None
    try:
        bus = Bus(xenstore, patience=REPORT_TIMEOUT) if power.may_report(xenstore) else None
    except (LamplighterError, MemoryError) as error:
        missing.append(str(error) or "a connection to XenStore: no memory")
    missing += harden()
    # A disk that does not answer blocks only the child. What one process has read in, all have.
    read = _in_child(lambda: power.lock_memory(read=True), LOCK_TIMEOUT, pipe)
    if (problem := power.lock_memory(read=read)) is not None:
        missing.append(f"staying in memory: {problem}")
    for problem in missing:
        log.warn(f"the guard runs without: {problem}")
    close_all_but((pipe, *power.descriptors, *([bus.fileno()] if bus is not None else ())))
    order = wait_for_deadline(pipe, order)
    force(order, f"not off after {now() - begun:.0f} s", bus, power, pipe)


def wait_for_deadline(pipe: int, order: Order, clock: Callable[[], float] = now) -> Order:
    """Sleep until ``REPORT_TIME`` before the end, taking orders; return the order in force."""
    poll = select.poll()
    if pipe >= 0:
        poll.register(pipe, select.POLLIN)
    while True:
        left = order.at - REPORT_TIME - clock()
        if poll.poll(milliseconds(left)):
            with suppress(BlockingIOError):
                order = apply_orders(order, os.read(pipe, ORDERS_MAX))
        # The pipe has been read even if the guard is late; then, once is enough.
        if left <= 0 and order.at - REPORT_TIME <= clock():
            return order


def force(order: Order, reason: str, bus: Bus | None, power: Power, pipe: int = -1) -> None:
    """Report to the host and have the disks written; after ``REPORT_TIME``, end the system."""
    until = now() + REPORT_TIME
    _in_child(lambda: _report_and_sync(order, reason, bus, power), REPORT_TIME, pipe)
    select.poll().poll(milliseconds(until - now()))
    # A driver may hang in reboot(2).
    child = _fork(lambda: power.force_by_key(order.request), pipe, SYSRQ_DELAY)
    power.force(order.request)
    if child:
        with suppress(ProcessLookupError):
            os.kill(child, 9)


def _report_and_sync(order: Order, reason: str, bus: Bus | None, power: Power) -> None:
    if bus is not None:
        with suppress(LamplighterError):
            bus.write(node("forced"), encode_forced(Forced(order.request, reason)))
    power.sync()


def _in_child(work: Callable[[], object], patience: float, pipe: int) -> bool:
    """Run ``work`` in a child and wait at most ``patience`` seconds for it, as it may never end.

    Return whether the child ended.
    """
    ours, theirs = os.pipe()
    ended = False
    if _fork(work, pipe):
        os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)  # POLLHUP when the child ends
        ended = bool(poll.poll(milliseconds(patience)))
    else:
        os.close(theirs)
    os.close(ours)
    return ended


def _fork(work: Callable[[], object], pipe: int, delay: float = 0.0) -> int:
    """Run ``work`` in a child, after ``delay`` seconds; return its process id, or 0 without one.

    The child closes the order pipe, so that nobody reads it any more once the guard is killed.
    """
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid == 0:
        try:
            if pipe >= 0:
                os.close(pipe)
            select.poll().poll(milliseconds(delay))
            work()
        finally:
            os._exit(0)
    return pid
