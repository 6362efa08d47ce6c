"""What systemd hears of a run that it started: the status text, and that the run still lives.

The status is what ``systemctl status`` shows while domains come up or go down, and afterwards. It
changes with every domain, but is told once a second at the most: systemd has better things to do.

The time-out of the unit is extended every few seconds for as long as the run lives, from its
first moment to its last. That does not let it live for ever: each domain's part has time-outs of
its own, and so has every call. It lets a stop that is slow but goes on come to its end.

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
from lamplighter.model.run import Direction, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from lamplighter.host.systemd.notify import Notifier
    from lamplighter.model.clock import Clock
    from lamplighter.model.run import Plan, Result, Run, Transition

#: Real seconds between two looks at whether the status has changed.
TICK = 1.0

#: Real seconds between two extensions, and how far each one reaches: a few may get lost.
EXTEND_EVERY = 10.0
EXTEND_BY = 60.0

#: After so many real seconds without a look it hangs.
HUNG = 120.0

#: More names than this are only counted.
MOST_NAMES = 8

#: So many letters of what a guest says are shown; a status is cut at the end, too.
LONGEST_WORD = 60

_DOING = {Direction.UP: "starting", Direction.DOWN: "stopping"}
_DONE = {Direction.UP: "started", Direction.DOWN: "stopped"}
_THING = {Direction.UP: "start", Direction.DOWN: "stop"}


class UnitStatus:
    """A ``Listener`` that keeps the status text; ``unit_status`` sends it."""

    def __init__(self, direction: Direction, *, active: bool) -> None:
        self.active = active
        self._direction = direction
        self._left: dict[str, str] = {}  # each with the newest word of it
        self._all = 0
        self._text = f"{_DOING[direction]}: looking at the host"
        self._final = False

    @property
    def text(self) -> str:
        """The status as it is now; while domains move, who asks for it has it put together."""
        return self._text or self._told_left()

    def began(self, plan: Plan) -> None:
        """Remember which domains are waited for."""
        names = [step.name for step in plan.steps if step.verb is not Verb.NOTHING]
        self._left, self._all = dict.fromkeys(sorted(names), ""), len(names)
        self._text = ""

    def moved(self, transition: Transition) -> None:
        """Tell what is new where it is: that more time is granted, or refused."""
        if transition.before is transition.after and transition.detail:
            self._tell_word(transition.name, transition.detail)

    def heard(self, name: str, text: str) -> None:
        """Show what a guest reports that is waited for."""
        self._tell_word(name, text, its_own=True)

    def settled(self, result: Result) -> None:
        """Wait for one domain less."""
        self._left.pop(result.name, None)

    def said(self, message: str) -> None:
        """Nothing: it is in the journal."""

    def waits(self, why: str) -> None:
        """The run cannot begin yet."""
        self._text = f"{_DOING[self._direction]}: waiting: {why}"

    def protected(self, why: str) -> None:
        """Tell why there was no run to be made."""
        self._final = True
        self._text = why

    def ended(self, run: Run, interruption: str = "", broken: int = 0) -> None:
        """Tell how all of it ended.

        ``interruption`` is the name of the signal, if one came; ``broken`` counts what is wrong
        with definitions of which nobody can say whose they are.
        """
        self._final = True
        told = final_text(run)
        if broken:
            told += f"; broken definitions: {broken}, lamplighter check tells"
        self._text = f"interrupted by {interruption}: {told}" if interruption else told

    def failed(self, error: LamplighterError) -> None:
        """Tell why there was no run."""
        self._final = True
        self._text = f"{_THING[self._direction]} failed: {error}"

    def close(self) -> None:
        """The command ends; if nobody said how, that is told."""
        if not self._final:
            self._text = f"{_THING[self._direction]} broke off: the journal tells more"

    def _tell_word(self, name: str, word: str, *, its_own: bool = False) -> None:
        """Keep the newest word of a domain; the guest's own are in quotes, cut before they are."""
        if name in self._left:
            word = word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..."
            self._left[name] = quoted(word) if word and its_own else word

    def _told_left(self) -> str:
        what = _DOING[self._direction]
        if not self._left:
            return f"{what}: no domain is left"
        names = _listed([f"{one} ({word})" if word else one for one, word in self._left.items()])
        return f"{what}: {len(self._left)} of {self._all} left: {names}"


def final_text(run: Run) -> str:
    """How a run ended: each outcome and how often, and by name the domains that need attention."""
    done = _DONE[run.direction]
    lost = "; its record is lost, the journal of the unit tells why" if run.lost else ""
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
    """Keep systemd informed for the length of the block, if it wants to be; ``clock`` is real."""
    status = UnitStatus(direction, active=notifier.active)
    telling = asyncio.create_task(_tell(status, notifier, clock)) if notifier.active else None
    try:
        yield status
    except LamplighterError as error:
        status.failed(error)
        raise
    finally:
        status.close()
        if telling is not None:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            disarm_alarm()
        notifier.send(status=status.text)


async def _tell(status: UnitStatus, notifier: Notifier, clock: Clock) -> None:
    told, extended = "", -EXTEND_EVERY
    began = clock.monotonic()
    while True:
        arm_alarm(HUNG)
        now = clock.monotonic() - began
        extend = EXTEND_BY if now - extended >= EXTEND_EVERY else None
        if extend is not None or status.text != told:
            text = status.text
            if notifier.send(status=text, extend=extend):
                told, extended = text, now if extend is not None else extended
        await clock.sleep(TICK)


def _listed(names: Collection[str]) -> str:
    first = list(names)[:MOST_NAMES]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
