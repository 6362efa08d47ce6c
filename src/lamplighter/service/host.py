"""Composition: everything a command needs of the host, opened in order and closed again."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError
from lamplighter.host import systemd
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal import Journal
from lamplighter.host.xenstore import XenStore
from lamplighter.service.roster import load_roster
from lamplighter.toolstacks.choose import choose
from lamplighter.toolstacks.embedded import EmbeddedToolstack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lamplighter.model.clock import Clock
    from lamplighter.model.configuration import Configuration
    from lamplighter.model.policy import Roster
    from lamplighter.toolstacks.base import Toolstack

#: Where the daemon says which domain provides XenStore, if one does.
XENSTORE_DOMID = "/tool/xenstored/domid"


@dataclass(slots=True)
class Host:
    """One Xen host, as commands see it.

    ``journal`` is None when it could not be opened; ``journal_trouble`` then says why.
    """

    configuration: Configuration
    clock: Clock
    toolstack: Toolstack
    xenstore: XenStore
    roster: Roster
    boot_id: str
    journal: Journal | None = None
    journal_trouble: str = ""

    async def spared(self) -> frozenset[int]:
        """Return the domids that no stop may touch: dom0, and the domain with XenStore in it."""
        value = await self.xenstore.read_or_none(XENSTORE_DOMID)
        return frozenset({0, int(value)} if value and value.isdigit() else {0})


@asynccontextmanager
async def open_host(configuration: Configuration, *, writing: bool = False) -> AsyncIterator[Host]:
    """Reach the toolstack and XenStore and read the definitions.

    ``writing``: open the journal, too. Raises ``Unreachable`` when nothing can be seen.
    """
    settings = configuration.host
    async with AsyncExitStack() as stack:
        clock = LoopClock()
        toolstack = choose(configuration, clock)
        stack.push_async_callback(toolstack.close)
        owner, boot_id = 0, ""
        if isinstance(toolstack, EmbeddedToolstack):
            owner, boot_id = os.getuid(), await toolstack.boot_id()
            clock = LoopClock(await toolstack.speed())
        else:
            boot_id = systemd.boot_id()
        xenstore = await XenStore.connect(toolstack.xenstore_path, clock)
        stack.push_async_callback(xenstore.close)
        roster = load_roster(configuration, owner=owner)
        host = Host(configuration, clock, toolstack, xenstore, roster, boot_id)
        if writing:
            try:
                host.journal = Journal.open(Path(settings.state.value))
                stack.push_async_callback(host.journal.close)
            except JournalError as error:
                host.journal_trouble = f"there is no record of this run, which goes on: {error}"
        yield host
