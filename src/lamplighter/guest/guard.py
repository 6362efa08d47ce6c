"""The guard: the last thing standing, a process that forces the guest's end at a moment.

The agent forks it when a shutdown begins, and what it needs is loaded and opened before it sleeps.
It keeps nothing but its orders, of which the last one stands whatever becomes of the agent, and
which come through a named pipe:

    poweroff 5231.25              force a poweroff at this moment of the system's clock
    poweroff 5231.25 or sooner    ... unless what stands comes sooner

An agent that was started anew finds the pipe, and a guard that reads it, and gives its orders
there; so there is never more than one. It does not know when the shutdown began, nor what the host
has granted since. So the order that stands is kept in a file beside the pipe as well, with the
host's words that it follows from, and what a new agent makes of the same words, or of fewer, means
that very order: however often the agent dies, the end is neither put off nor brought forward. Where
there is no such file its first order is of the second kind. Without a pipe (``/run`` is full) a
guard has only the order it was born with, and another one takes its place for the next. Whoever
could write into the pipe is root anyway.

Two seconds before the moment it says so to the host and has the disks written, in a child of its
own; at the moment, however that went, it ends the system, and when that hangs in a driver, another
child presses SysRq. The host needs the two seconds to hear the word: it goes with the domain.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import stat
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

#: So long, in seconds, the host and the disks have together, before the end.
LAST_WORDS = 2.0
#: Of these the host has so many, each of the two times that it is asked.
HOST_PART = 0.5
#: So long, in seconds, what belongs to the guard may take to be read into memory.
READING = 5.0
#: So long reboot(2) may take before SysRq is tried.
LAST_RESORT = 10.0

#: So long after a guard could not be made, in seconds, it is tried again.
AGAIN = 5.0

OR_SOONER = " or sooner"

#: So much is read of them at once.
ORDERS_MAX = 4096


class Order(NamedTuple):
    """Force this ``request`` at this moment, because of what the host has ``said``; see ``Arm``."""

    request: str
    at: float
    said: str = ""

    def follows_from(self, said: str) -> bool:
        """Say whether it came of these words, as far as they are known."""
        (note, _, grant), (its_note, _, its_grant) = said.partition("/"), self.said.partition("/")
        return note in ("", its_note) and grant in ("", its_grant)


def encode_order(order: Order, *, or_sooner: bool = False) -> bytes:
    """Write an order as a line; ``or_sooner``: what stands is kept if it comes sooner."""
    return f"{order.request} {order.at!r}{OR_SOONER if or_sooner else ''}\n".encode("ascii")


def obey(standing: Order, lines: bytes) -> Order:
    """Return the order that stands after these; what is none changes nothing."""
    for line in lines.decode("ascii", "replace").split("\n"):
        told = line.removesuffix(OR_SOONER)
        order = _parse_order(told)
        if order is not None and (told == line or order.at < standing.at):
            standing = order
    return standing


def _parse_order(line: str) -> Order | None:
    request, _, moment = line.partition(" ")
    with suppress(ValueError):
        at = float(moment)
        if request in REQUESTS and (isfinite(at) or at == inf):
            return Order(request, at)
    return None


# --- the agent's side ----------------------------------------------------------------------------


class Guard:
    """Gives the guard its orders, and makes one where there is none."""

    def __init__(self, pipe: str, xenstore: str, power: Power, log: Log) -> None:
        self._pipe = pipe
        self._kept = f"{pipe}-order"
        self._xenstore = xenstore
        self._power = power
        self._log = log
        self._order: Order | None = None
        self._pid = 0
        self._failed = False
        self._known = False  # the guard that stands has had an order of ours
        self._again = inf

    @property
    def wake(self) -> float:
        """When ``tick`` is wanted; infinite while there is nothing to try again."""
        return self._again

    def tick(self, moment: float) -> None:
        """Make the guard that could not be made, once it is time to."""
        if moment >= self._again and self._order is not None:
            self.arm(self._order)

    @property
    def stands(self) -> bool:
        """Whether there is a guard that takes orders, whoever made it."""
        with suppress(OSError):
            os.close(self._open())
            return True
        return False

    @property
    def grant(self) -> str:
        """The id of the grant that the order which stands came of; empty where there is none."""
        standing = self._read() if self.stands else None
        return standing.said.partition("/")[2] if standing is not None else ""

    def arm(self, order: Order) -> None:
        """Have this order stand from now on, or what stands already if it follows from the same."""
        standing = self._read() if self.stands else None
        sure = self._known or standing is not None or not self.stands
        if standing is not None and standing.follows_from(order.said):
            # As in the handshake: a reboot may become a power-off, and nothing else changes.
            request = order.request if standing.request == "reboot" else standing.request
            order = standing._replace(request=request)
        self._order, self._again = order, inf
        if sure:
            self._keep(order)
        if not self._give(order, sure=sure):
            self._replace(order)
        self._known = True

    def ended(self, pid: int, code: int) -> bool:
        """Say whether this was the guard; where it was killed there is another one now.

        So there is where it failed, but only once: the next one may fail for the same reason.
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

    def _give(self, order: Order, *, sure: bool) -> bool:
        """Say whether there is a guard that takes it."""
        with suppress(OSError):
            pipe = self._open()
            try:
                return os.write(pipe, encode_order(order, or_sooner=not sure)) > 0
            finally:
                os.close(pipe)
        return False

    def _replace(self, order: Order) -> None:
        """Make a guard; one of ours that took no order would end the system at the old moment."""
        old, new = self._pid, self._fork(order)
        if new:
            self._pid = new
        else:
            self._again = now() + AGAIN
        if old and new:
            with suppress(ProcessLookupError):
                os.kill(old, signal.SIGKILL)

    def _read(self) -> Order | None:
        """Return what was kept; None when nothing was."""
        with suppress(OSError), open(self._kept, encoding="ascii", errors="replace") as file:
            line, _, said = file.read(ORDERS_MAX).rstrip("\n").partition("\n")
            order = _parse_order(line)
            return order._replace(said=said) if order is not None else None
        return None

    def _keep(self, order: Order) -> None:
        """Keep an order, whole, or none: an old one would be worse."""
        new = f"{self._kept}.new"
        try:
            with open(new, "wb") as file:
                file.write(encode_order(order) + f"{order.said}\n".encode("ascii"))
            os.replace(new, self._kept)
        except OSError as error:
            self._log.warn(f"{self._kept}: {error.strerror}; a new agent may bring the end forward")
            for path in (new, self._kept):
                with suppress(OSError):
                    os.unlink(path)

    def _fork(self, order: Order) -> int:
        try:
            pipe = self._open_pipe()
        except OSError as error:
            self._log.warn(f"{self._pipe}: {error.strerror}; the deadline cannot be moved")
            pipe = -1
        try:
            pid = os.fork()
        except OSError as error:
            told = f"it is tried again in {AGAIN:g} s"
            self._log.warn(f"there is no guard that forces the end: {error.strerror}; {told}")
            pid = -1
        if pid == 0:
            try:
                _stand(pipe, order, self._xenstore, self._power, self._log)
                os._exit(0)
            finally:
                os._exit(1)
        if pipe >= 0:
            os.close(pipe)
        return max(pid, 0)

    def _open_pipe(self) -> int:
        with suppress(FileNotFoundError):
            os.unlink(self._pipe)
        os.mkfifo(self._pipe, 0o600)
        # To read and to write: there is never an end of the file.
        return os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


# --- the guard -----------------------------------------------------------------------------------


def _stand(pipe: int, order: Order, xenstore: str, power: Power, log: Log) -> None:
    """Be the guard; never returns but from a rehearsal."""
    begun = now()  # what follows takes seconds on a busy machine
    detach()
    gc.disable()
    missing = power.prepare()
    bus: Bus | None = None
    try:
        bus = Bus(xenstore, patience=HOST_PART) if _may_speak(xenstore, power) else None
    except (LamplighterError, MemoryError) as error:
        missing.append(str(error) or "the way to XenStore: no memory")
    missing += harden()
    # A disk that does not answer keeps a child waiting. What one has read, all have.
    read = _beside(lambda: power.lock_memory(read=True), READING, pipe)
    if locked := power.lock_memory(read=read):
        missing.append(f"staying in memory: {locked}")
    for problem in missing:
        log.warn(f"the guard goes without: {problem}")
    close_all_but((pipe, *power.descriptors, *([bus.fileno()] if bus is not None else ())))
    order = keep(pipe, order)
    force(order, f"not off after {now() - begun:.0f} s", bus, power, pipe)


def _may_speak(xenstore: str, power: Power) -> bool:
    """A rehearsal does not tell a real host that the end is forced; a socket is a trial's."""
    with suppress(OSError):
        return not power.rehearses or stat.S_ISSOCK(os.stat(xenstore).st_mode)
    return False


def keep(pipe: int, order: Order, clock: Callable[[], float] = now) -> Order:
    """Sleep until the last words are to be said; take orders meanwhile, and return what stands."""
    poll = select.poll()
    if pipe >= 0:
        poll.register(pipe, select.POLLIN)
    while True:
        left = order.at - LAST_WORDS - clock()
        if poll.poll(milliseconds(left)):
            with suppress(BlockingIOError):
                order = obey(order, os.read(pipe, ORDERS_MAX))
        # It has been looked into the pipe, even if it is late; and once is enough, if it is.
        if left <= 0 and order.at - LAST_WORDS <= clock():
            return order


def force(order: Order, why: str, bus: Bus | None, power: Power, pipe: int = -1) -> None:
    """Tell the host and have the disks written; then, in two seconds, end the system."""
    until = now() + LAST_WORDS
    _beside(lambda: _last_words(order, why, bus, power), LAST_WORDS, pipe)
    select.poll().poll(milliseconds(until - now()))
    child = _fork(lambda: _last_resort(order, power), pipe)
    power.force(order.request)
    if child:
        with suppress(ProcessLookupError):
            os.kill(child, 9)


def _last_words(order: Order, why: str, bus: Bus | None, power: Power) -> None:
    if bus is not None:
        with suppress(LamplighterError):
            bus.write(node("forced"), encode_forced(Forced(order.request, why)))
    power.sync()


def _last_resort(order: Order, power: Power) -> None:
    select.poll().poll(milliseconds(LAST_RESORT))
    power.force_by_key(order.request)


def _beside(work: Callable[[], object], patience: float, pipe: int) -> bool:
    """Do something in a child and wait for its end, but not for long: it may never come.

    Say whether it came.
    """
    ours, theirs = os.pipe()
    ended = False
    if _fork(work, pipe):
        os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)  # it hangs up with the child
        ended = bool(poll.poll(milliseconds(patience)))
    else:
        os.close(theirs)
    os.close(ours)
    return ended


def _fork(work: Callable[[], object], pipe: int) -> int:
    """Do something in a child; return its process id, or 0 when there can be none.

    It does not keep the pipe of orders: where the guard is killed nobody reads them any more.
    """
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid == 0:
        try:
            if pipe >= 0:
                os.close(pipe)
            work()
        finally:
            os._exit(0)
    return pid
