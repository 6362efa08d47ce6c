"""Holds and releases a domain, and finds the domain that an administrator names.

A hold must be possible when the host cannot be read. So a name is looked up in the definitions
first, and the toolstack is asked only about a name that no definition has. A hold is in force
at once.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine.naming import find, means_hold
from lamplighter.errors import CallFailed, JournalError, Unreachable, UsageError
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.writer import Journal
from lamplighter.host.machine import who
from lamplighter.model.domain import DOM0
from lamplighter.model.intent import Hold
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.engine.naming import DomainRef
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.intent import Intents
    from lamplighter.model.policy import Configuration

logger = logging.getLogger(__name__)


async def hold_domain(named: DomainRef, reason: str, configuration: Configuration) -> Hold:
    """Hold a domain from now on; raise ``JournalError`` when that cannot be kept."""
    hold = Hold(named.key, named.name, reason, who(), LoopClock().wall())
    store = _store(configuration)
    await store.hold(hold)
    number = store.read().number
    await _in_history(configuration, lambda journal: journal.record_holds(hold, intents=number))
    return hold


async def release_domain(given: str, configuration: Configuration) -> tuple[str, Hold | None]:
    """Release a domain; return its name, and the hold that there was.

    Raises ``UsageError`` for a domain that nobody knows and that is not held either, and
    ``JournalError`` when holds are not known, or the release cannot be kept.
    """
    store = _store(configuration)
    host = configuration.host
    holds = load_intents(Path(host.state.value), run=Path(host.run.value)).holds
    try:
        named = await find_domain(given, configuration)
        name, keys = named.name, {named.key, named.name}
        if named.key == named.name:  # whatever UUID it had
            keys |= {hold.domain for hold in holds.values() if hold.name == name}
        found = [hold for key, hold in holds.items() if key in keys]
    except UsageError:
        # What was held may have lost its definition since.
        name, found = given, [hold for hold in holds.values() if means_hold(given, hold)]
        if not found:
            raise
    await store.release(*(hold.domain for hold in found))
    number, now = store.read().number, LoopClock().wall()

    async def record(journal: Journal) -> None:
        for hold in found:
            await journal.record_release(hold.domain, who(), now, number)

    if found:
        await _in_history(configuration, record)
    return name, found[0] if found else None


async def release_all(configuration: Configuration) -> list[Hold]:
    """Release every domain, even where the holds are not known; return those that were known."""
    store = _store(configuration)
    before = await store.begin_again()
    number, now = store.read().number, LoopClock().wall()
    await _in_history(
        configuration, lambda journal: journal.record_release(None, who(), now, number)
    )
    return list(before.holds.values())


async def accept_intents(configuration: Configuration) -> Intents:
    """Accept the intents and holds of the file although it is older than the journal has seen."""
    return await _store(configuration).accept()


def _store(configuration: Configuration) -> IntentStore:
    host = configuration.host
    return IntentStore(Path(host.state.value), LoopClock(), run=Path(host.run.value))


async def _in_history(
    configuration: Configuration, record: Callable[[Journal], Awaitable[None]]
) -> None:
    """Record it in the journal, too. What cannot be recorded is in force all the same."""
    try:
        journal = Journal.open(Path(configuration.host.state.value))
        try:
            await record(journal)
        finally:
            await journal.close()
    except JournalError as error:
        logger.error("it is in force, but history will not show it: %s", error)


async def find_domain(given: str, configuration: Configuration) -> DomainRef:
    """Return the domain of this name or UUID; raise ``UsageError`` for one that is not known."""
    inventory = load_inventory(configuration, owner=definition_owner(configuration))
    try:
        return find(given, inventory)
    except UsageError:
        guests: list[DomainInfo] = []
        with suppress(CallFailed, Unreachable):
            async with open_host(configuration) as host:
                guests = [one for one in await host.toolstack.list() if one.domid != DOM0]
        return find(given, inventory, guests)
