"""Opens what a command needs of a Xen host, in order, and closes it again."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import CallFailed, Unreachable
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.xenstore.client import XenStore
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.toolstacks.choose import choose
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from lamplighter.host.journal.writer import Journal
    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition, DomainInfo, ShutdownReason
    from lamplighter.model.policy import Configuration, Inventory
    from lamplighter.toolstacks.base import Toolstack

#: What libxl appends to the name of a guest to name its stub domain (libxl__stub_dm_name).
STUB = "-dm"

#: The node with the domid of the domain that runs xenstored, if one does.
XENSTORE_DOMID = "/tool/xenstored/domid"


@dataclass(eq=False, repr=False)
class Host:
    """One Xen host, as commands see it.

    ``journal`` is history, and None while it is not open (``service/run/recorder``) or cannot be
    opened; ``journal_error`` then says why.
    ``intents`` are what decides; ``holds_known``: they could be read when the run was planned.
    """

    configuration: Configuration
    clock: Clock
    toolstack: Toolstack
    xenstore: XenStore
    inventory: Inventory
    boot_id: str
    intents: IntentStore
    journal: Journal | None = None
    journal_error: str = ""
    holds_known: bool = True

    @property
    def definitions(self) -> list[Definition]:
        """Every definition that can be used."""
        return [managed.definition for managed in self.inventory.domains.values()]

    async def protected(self, domains: Iterable[DomainInfo]) -> frozenset[int]:
        """Return the domids that no stop may touch.

        These are dom0, the domain that runs xenstored, and stub domains: such a one is a part of
        its guest, and ends with it.
        """
        value = await self.xenstore.read_or_none(XENSTORE_DOMID)
        protected = {0, int(value)} if value and value.isdigit() else {0}
        for one in domains:
            if one.name.endswith(STUB):
                target = await self.xenstore.read_or_none(paths.target(one.domid))
                if target and target.isdigit():
                    protected.add(one.domid)
        return frozenset(protected)


class HostConnection(NamedTuple):
    """A host's toolstack and XenStore, in one of its boots."""

    clock: Clock
    toolstack: Toolstack
    xenstore: XenStore
    boot_id: str

    async def has_rebooted(self) -> bool:
        """Return whether the host has booted again since; raise ``CallFailed``, ``Unreachable``."""
        return (await self.toolstack.boot()).id != self.boot_id


@asynccontextmanager
async def connect_host(configuration: Configuration) -> AsyncIterator[HostConnection]:
    """Connect to the toolstack and XenStore; raise ``Unreachable`` when one does not answer."""
    async with AsyncExitStack() as stack:
        toolstack = choose(configuration, LoopClock())
        stack.push_async_callback(toolstack.close)
        boot = await toolstack.boot()
        clock = LoopClock(boot.speed)
        xenstore = await XenStore.connect(toolstack.xenstore_path, clock)
        stack.push_async_callback(xenstore.close)
        yield HostConnection(clock, toolstack, xenstore, boot.id)


@asynccontextmanager
async def open_host(configuration: Configuration) -> AsyncIterator[Host]:
    """Connect to the host and read the definitions; its journal is not opened.

    Raises ``Unreachable`` when the toolstack or XenStore does not answer.
    """
    async with connect_host(configuration) as connection:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        host = Host(
            configuration,
            connection.clock,
            connection.toolstack,
            connection.xenstore,
            inventory,
            connection.boot_id,
            IntentStore(
                Path(configuration.host.state.value),
                connection.clock,
                run=Path(configuration.host.run.value),
            ),
        )
        yield host


async def shutdown_reason(host: Host | HostConnection, info: DomainInfo) -> ShutdownReason | None:
    """Return why an incarnation that has gone had shut down; None when nothing is on record."""
    try:
        return await host.toolstack.shutdown_reason(info)
    except (CallFailed, Unreachable):
        return None
