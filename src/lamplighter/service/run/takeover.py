"""Takes the host for one run; the host's stop takes it from whoever holds it.

A run by hand that finds the host held reports by whom, and ends. One that systemd started waits:
the start for as long as a run by hand may sensibly take. The stop of the host does not wait that
long: it wins over whatever else goes on, because the power goes when systemd has waited long
enough:

    at once                        SIGTERM: begin nothing new, record what is known, end
    the time of a call later       SIGTERM: drop what is under way, record that, end
    a minute after that            SIGKILL: it does not do even that

The time of a call (``[host] call_timeout``) is what a run that ends in order may need: a domain
that is being created is then created to its end, because a half-built one would cost more time
than that. What a run that was killed leaves behind is in the journal and is taken up from there.
Programs that it started go on without it, and what they create is listed and stopped at the end of
the stop.

A holder that was stopped with a key (Ctrl-Z) does not get a SIGTERM until it goes on, so it is sent
SIGCONT. The steps begin again with each holder, should another run get in between. Signals go to
the very process that has written that it holds the host (``host/lock``); one that has not yet
written who it is is waited for.
"""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine import timing
from lamplighter.errors import HostBusy
from lamplighter.host.lock import hold_host, read_holder, signal_holder
from lamplighter.model.run import Direction

if TYPE_CHECKING:
    from lamplighter.host.lock import Holder
    from lamplighter.model.clock import Clock
    from lamplighter.model.policy import Configuration
    from lamplighter.service.unit.systemd_status import UnitStatus

logger = logging.getLogger(__name__)


class Escalation(NamedTuple):
    """One step against a holder: when, in seconds since the first, which signal, and in words."""

    after: float
    number: signal.Signals
    message: str


class Takeover:
    """Makes whoever holds the host let go of it."""

    def __init__(self, directory: Path, call_timeout: float) -> None:
        """Seconds are real ones."""
        self._directory = directory
        drop = call_timeout + timing.ORDERLY_END
        late = f"did not end within {drop:g} s: it is told to drop everything"
        more = timing.DROPPED_END
        deaf = f"did not end within another {more:g} s: it is killed, and its record taken up"
        self._steps = (
            Escalation(0.0, signal.SIGTERM, "is told to end (SIGTERM)"),
            Escalation(drop, signal.SIGTERM, late),
            Escalation(drop + timing.DROPPED_END, signal.SIGKILL, deaf),
        )
        self._holder: Holder | None = None
        self._since = 0.0
        self._done = 0

    @property
    def longest(self) -> float:
        """After so many real seconds the last step has been taken against a holder."""
        return self._steps[-1].after

    def press(self, now: float) -> None:
        """Take the next step against the holder, if its time has come."""
        holder = read_holder(self._directory)
        if holder is None:
            return
        if self._holder is None or holder[:2] != self._holder[:2]:
            self._holder, self._since, self._done = holder, now, 0
        if self._done < len(self._steps):
            step = self._steps[self._done]
            if now < self._since + step.after:
                return
            self._done += 1
            try:
                if signal_holder(holder, step.number):
                    signal_holder(holder, signal.SIGCONT)
                    logger.warning("the host stops: %s %s", holder.description, step.message)
            except OSError as error:
                logger.error("%s cannot be told to end: %s", holder.description, error.strerror)


async def take_host(
    configuration: Configuration,
    direction: Direction,
    unit: UnitStatus,
    clock: Clock,
    *,
    everything: bool = True,
) -> ExitStack:
    """Return what holds the host until it is closed; ``HostBusy`` when another run does.

    ``everything``: this run is about all domains, so with systemd behind it and downwards it is the
    host's stop. ``clock`` is real.
    """
    directory = Path(configuration.host.run.value)
    takeover = Takeover(directory, configuration.host.call_timeout.value)
    wins = unit.active and everything and direction is Direction.DOWN
    patience = timing.LOCK_WAIT + takeover.longest if wins else timing.LOCK_WAIT
    give_up = clock.monotonic() + (patience if unit.active else 0.0)
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(
                    hold_host(directory, command=direction.value, since=clock.wall())
                )
                return stack.pop_all()
            except HostBusy as busy:
                if clock.monotonic() >= give_up:
                    raise
                unit.waits(busy.message)
        if wins:
            takeover.press(clock.monotonic())
        await clock.sleep(timing.LOCK_PAUSE)
