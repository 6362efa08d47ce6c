"""Looking at the host and planning, and what a run does before it acts.

``plan`` looks and plans and changes nothing. A run also completes the record of runs that died,
learns intent from what it sees, and writes down what an administrator has just asked for: all of
it is on disk before the first domain is moved. A record that cannot be kept is told and costs no
domain anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.engine.plan import Past, plan_down, plan_up
from lamplighter.errors import CallFailed, CallTimedOut, JournalError, ToolstackUnreachable
from lamplighter.host.person import who
from lamplighter.model.plan import Direction
from lamplighter.service.intents import learn_intents, read_intents, write_word
from lamplighter.service.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamplighter.model.domain import Sighting
    from lamplighter.model.plan import Plan
    from lamplighter.service.host import Host

#: How often the first look is tried, and how many host seconds lie between: without one there
#: can be no run, and a toolstack that failed once may be about to answer.
LOOKS = 3
LOOK_PAUSE = 3.0


async def look(host: Host) -> Sequence[Sighting]:
    """List the domains; a toolstack that fails again and again is ``ToolstackUnreachable``."""
    for attempt in range(1, LOOKS + 1):
        try:
            return await host.toolstack.list()
        except CallFailed as error:
            if attempt == LOOKS or isinstance(error, CallTimedOut):
                raise ToolstackUnreachable(
                    f"the domains cannot be listed: {error.message}",
                    hint=error.hint or "nothing was changed; try again when the toolstack answers",
                ) from error
        await host.clock.sleep(LOOK_PAUSE)
    raise AssertionError("the last attempt returns or raises")


async def make_plan(host: Host, direction: Direction, names: Sequence[str]) -> Plan:
    """Look at the host and plan; raise ``UsageError`` for a domain nobody knows."""
    creating = await _creating(host, direction)
    sightings = await look(host)
    intents = read_intents(host.configuration)
    return await _plan(host, direction, names, sightings, Past(intents, creating=creating))


async def prepare(
    host: Host, direction: Direction, names: Sequence[str], tell: Callable[[str], None]
) -> Plan:
    """Look, recover, learn and plan for a run that begins now; raises as ``make_plan`` does.

    ``tell`` is told what a person should know of it.
    """
    creating = await _creating(host, direction)
    sightings = await look(host)
    recovery = Recovery(host)
    for message in await recovery.look(sightings):
        tell(message)
    intents = read_intents(host.configuration)
    try:
        intents = await learn_intents(host, sightings, intents)
    except JournalError as error:
        tell(f"what was learned from what is seen cannot be kept: {error}")
    past = Past(intents, recovery.standing, creating)
    plan = await _plan(host, direction, names, sightings, past)
    if names:
        try:
            await write_word(host, plan, who())
        except JournalError as error:
            tell(f"that you asked for this cannot be kept: {error}")
    return plan


async def _plan(
    host: Host,
    direction: Direction,
    names: Sequence[str],
    sightings: Sequence[Sighting],
    past: Past,
) -> Plan:
    if direction is Direction.UP:
        return plan_up(host.roster, sightings, names, past=past)
    spared = await host.spared()
    return plan_down(host.roster, sightings, names, spared=spared, past=past)


async def _creating(host: Host, direction: Direction) -> frozenset[str]:
    """Ask, before the listing is made, from which definitions domains are being created.

    In this order nothing falls between: what has been created by the time of the listing is in it.
    """
    if direction is Direction.DOWN:
        return frozenset()
    try:
        return await host.toolstack.creating()
    except CallFailed:
        return frozenset()  # then a create may fail because the domain is there, and is told so
