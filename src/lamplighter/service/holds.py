"""An administrator's word about one domain: hold it, or let it go. Written at once, by itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.errors import UsageError
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.writer import Journal
from lamplighter.host.machine import who
from lamplighter.model.intent import Hold
from lamplighter.service.naming import find_domain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lamplighter.model.policy import Configuration
    from lamplighter.service.naming import DomainRef


async def hold_domain(
    named: DomainRef, reason: str, configuration: Configuration, tell: Callable[[str], None]
) -> Hold:
    """Write that a domain is held from now on; raise ``JournalError`` when that cannot be kept."""
    hold = Hold(named.key, named.name, reason, who(), LoopClock().wall())
    async with _journal(configuration, tell) as journal:
        await journal.hold(hold)
    return hold


async def release_domain(
    given: str, configuration: Configuration, tell: Callable[[str], None]
) -> tuple[str, Hold | None]:
    """Write that a domain is held no more; return its name, and the hold that there was.

    Raises ``UsageError`` for a domain that nobody knows and that is not held either, and
    ``JournalError`` when the word cannot be kept.
    """
    async with _journal(configuration, tell) as journal:
        holds = journal.intents().holds
        keys, name = {given, given.lower()}, given
        try:
            named = await find_domain(given, configuration)
            keys, name = {named.key, named.name}, named.name
        except UsageError:
            # What was held may have lost its definition since.
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
    """The journal, for the length of the block; ``tell`` is told if it had to be begun anew."""
    journal = Journal.open(Path(configuration.host.state.value))
    try:
        if journal.told:
            tell(journal.told)
        yield journal
    finally:
        await journal.close()
