"""Notifies systemd of a run that it started: the status text, and that the run still works.

The status is what ``systemctl status`` shows while domains are started or stopped, and afterwards.
It changes with every domain, but is sent at most once a second: systemd has better things to do.

The time-out of the unit is extended every few seconds for as long as the run lives, from its first
moment to its last. That does not let it live for ever: each domain's part has time-outs of its own,
and so has every call. It lets a stop that is slow but goes on come to its end.

A run that does not even do that any more hangs, and is ended by the kernel
(``host/systemd/notify``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lamplighter.errors import LamplighterError
from lamplighter.formats.agent_protocol import quoted
from lamplighter.host.systemd.notify import arm_alarm, disarm_alarm
from lamplighter.model.plan import Verb
from lamplighter.model.run import Direction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from lamplighter.host.systemd.notify import Notifier
    from lamplighter.model.clock import Clock
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Run, Transition

#: Real seconds between two checks whether the status has changed.
TICK = 1.0

#: Real seconds between two extensions, and how far each one reaches: a few may get lost.
EXTEND_EVERY = 10.0
EXTEND_BY = 60.0

#: A run that has not checked for so many real seconds hangs.
HUNG = 120.0

#: More names than this are only counted.
MOST_NAMES = 8

#: How many letters of what a guest reports are shown; a status is cut at the end, too.
TEXT_MAX = 60

_DOING = {Direction.UP: "starting", Direction.DOWN: "stopping"}
_DONE = {Direction.UP: "started", Direction.DOWN: "stopped"}
_THING = {Direction.UP: "start", Direction.DOWN: "stop"}


class UnitStatus:
    """A ``Listener`` that keeps the status text; ``unit_status`` sends it."""

    def __init__(self, direction: Direction, *, active: bool) -> None:
        self.active = active
        self._direction = direction
        self._left: dict[str, str] = {}  # name: the newest text about it
        self._all = 0
        self._text = f"{_DOING[direction]}: reading the host"
        self._final = False

    @property
    def text(self) -> str:
        """The status as it is now; while domains move, it is made when it is asked for."""
        if self._text:
            return self._text
        if not self._left:
            return f"{_DOING[self._direction]}: no domain is left"
        names = _listed([f"{one} ({text})" if text else one for one, text in self._left.items()])
        return f"{_DOING[self._direction]}: {len(self._left)} of {self._all} left: {names}"

    def began(self, plan: Plan) -> None:
        """Remember which domains are waited for."""
        names = [step.name for step in plan.steps if step.verb is not Verb.NOTHING]
        self._left, self._all = dict.fromkeys(sorted(names), ""), len(names)
        self._text = ""

    def moved(self, transition: Transition) -> None:
        """Show what is new within a phase: that more time is granted, or refused."""
        if transition.before is transition.after and transition.detail:
            self._show_text(transition.name, transition.detail)

    def guest_reported(self, name: str, text: str) -> None:
        """Show what the guest of a domain that is waited for reports."""
        self._show_text(name, text, its_own=True)

    def settled(self, result: Result) -> None:
        """Wait for one domain less."""
        self._left.pop(result.name, None)

    def message(self, level: int, message: str) -> None:
        """Do nothing: the message is in the unit's log."""

    def waits(self, why: str) -> None:
        """The run cannot begin yet."""
        self._text = f"{_DOING[self._direction]}: waiting: {why}"

    def nothing_to_do(self, why: str) -> None:
        """Show why no domain was to be moved."""
        self._final = True
        self._text = why

    def ended(self, run: Run, interruption: str = "", broken: int = 0) -> None:
        """Show how the run ended.

        ``interruption`` is the name of the signal, if one came; ``broken`` counts what is wrong
        with definitions that do not even name their domain.
        """
        self._final = True
        text = final_text(run)
        if broken:
            text += f"; broken definitions: {broken}, see lamplighter check"
        self._text = f"interrupted by {interruption}: {text}" if interruption else text

    def failed(self, error: LamplighterError) -> None:
        """Show why there was no run."""
        self._final = True
        self._text = f"{_THING[self._direction]} failed: {error}"

    def close(self) -> None:
        """The command ends; if it is not known how, show that."""
        if not self._final:
            self._text = f"{_THING[self._direction]} ended unexpectedly: see the unit's log"

    def _show_text(self, name: str, text: str, *, its_own: bool = False) -> None:
        """Keep the newest text about a domain; a guest's own is cut and then quoted."""
        if name in self._left:
            text = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
            self._left[name] = quoted(text) if its_own else text


def final_text(run: Run) -> str:
    """Return how a run ended: the number of each outcome, and the names of domains gone wrong."""
    done = _DONE[run.direction]
    lost = "; its record is lost, see the unit's log" if run.lost else ""
    if not run.results:
        return f"{done}: there was no domain to {_THING[run.direction]}{lost}"
    counts = Counter(result.outcome for result in run.results)
    parts = []
    for outcome, count in counts.most_common():
        bad = sorted(r.name for r in run.results if r.outcome is outcome and not r.good)
        parts.append(f"{count} {outcome.value}" + (f" ({_listed(bad)})" if bad else ""))
    domains = "domain" if len(run.results) == 1 else "domains"
    return f"{done}, {len(run.results)} {domains}: {', '.join(parts)}{lost}"


@asynccontextmanager
async def unit_status(
    direction: Direction, notifier: Notifier, clock: Clock
) -> AsyncIterator[UnitStatus]:
    """Notify systemd for the length of the block, if it runs this command; ``clock`` is real."""
    status = UnitStatus(direction, active=notifier.active)
    notifying = asyncio.create_task(_notify(status, notifier, clock)) if notifier.active else None
    try:
        yield status
    except LamplighterError as error:
        status.failed(error)
        raise
    finally:
        status.close()
        if notifying is not None:
            notifying.cancel()
            await asyncio.gather(notifying, return_exceptions=True)
            disarm_alarm()
        notifier.send(status=status.text)


async def _notify(status: UnitStatus, notifier: Notifier, clock: Clock) -> None:
    sent, extended = "", -EXTEND_EVERY
    began = clock.monotonic()
    while True:
        arm_alarm(HUNG)
        now = clock.monotonic() - began
        extend = EXTEND_BY if now - extended >= EXTEND_EVERY else None
        if extend is not None or status.text != sent:
            text = status.text
            if notifier.send(status=text, extend=extend):
                sent, extended = text, now if extend is not None else extended
        await clock.sleep(TICK)


def _listed(names: Collection[str]) -> str:
    first = list(names)[:MOST_NAMES]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
