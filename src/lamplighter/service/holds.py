"""Holds and releases a domain, and finds the domain that an administrator names.

A hold must be possible when the host cannot be read. So a name is looked up in the definitions
first, and the toolstack is asked only about a name that no definition has. A hold is written at
once.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine.naming import find
from lamplighter.errors import CallFailed, Unreachable, UsageError
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.writer import Journal
from lamplighter.host.machine import who
from lamplighter.model.domain import DOM0
from lamplighter.model.intent import Hold
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.service.managed_host import open_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lamplighter.engine.naming import DomainRef
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.policy import Configuration


async def hold_domain(
    named: DomainRef, reason: str, configuration: Configuration, tell: Callable[[str], None]
) -> Hold:
    """Record that a domain is held from now on; raise ``JournalError`` when that fails."""
    hold = Hold(named.key, named.name, reason, who(), LoopClock().wall())
    async with _journal(configuration, tell) as journal:
        await journal.hold(hold)
    return hold


async def release_domain(
    given: str, configuration: Configuration, tell: Callable[[str], None]
) -> tuple[str, Hold | None]:
    """Record that a domain is no longer held; return its name, and the hold that there was.

    Raises ``UsageError`` for a domain that is neither known nor held, and ``JournalError`` when the
    release cannot be recorded.
    """
    async with _journal(configuration, tell) as journal:
        holds = journal.intents().holds
        keys, name = {given, given.lower()}, given
        try:
            named = await find_domain(given, configuration)
            keys, name = {named.key, named.name}, named.name
        except UsageError:
            # A domain that is held may have lost its definition since.
            if not any(given in (hold.name, hold.domain) for hold in holds.values()):
                raise
            keys |= {hold.domain for hold in holds.values() if hold.name == given}
        found = [hold for key, hold in holds.items() if key in keys]
        for hold in found:
            await journal.release(hold.domain, who(), LoopClock().wall())
    return name, found[0] if found else None


@asynccontextmanager
async def _journal(
    configuration: Configuration, tell: Callable[[str], None]
) -> AsyncIterator[Journal]:
    """Open the journal for the length of the block; call ``tell`` if a new one was begun."""
    journal = Journal.open(Path(configuration.host.state.value))
    try:
        if journal.told:
            tell(journal.told)
        yield journal
    finally:
        await journal.close()


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
