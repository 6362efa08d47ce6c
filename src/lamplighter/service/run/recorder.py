"""The record of one run in the journal.

The domains matter more than the record of them: where the journal cannot be opened or written, the
run goes on. The first loss is reported, once; it is why the rest is lost, too, or will not be.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine.intent import suspended
from lamplighter.errors import JournalError
from lamplighter.host.journal.intent_file import check_mounted
from lamplighter.host.journal.writer import Journal
from lamplighter.model.domain_event import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from lamplighter.model.domain import Definition
    from lamplighter.model.run import Direction, Result, Transition
    from lamplighter.service.managed_host import Host


@asynccontextmanager
async def open_journal(host: Host) -> AsyncIterator[None]:
    """Have the host's journal open while the block lasts, if it can be opened."""
    directory = Path(host.configuration.host.state.value)
    with suppress(JournalError):  # what cannot be read of intents is reported where it decides
        await host.intents.settle()
    try:
        check_mounted(directory)
        host.journal = Journal.open(directory)
    except JournalError as error:
        host.journal_error = f"this run is not recorded, and goes on: {error}"
    try:
        yield
    finally:
        if host.journal is not None:
            await host.journal.close()
            host.journal = None


class Recorder:
    """Keeps what a run does, as far as it can be kept; no method raises."""

    def __init__(self, host: Host, report: Callable[[int, str], None]) -> None:
        """``report`` is given the first loss."""
        self._host = host
        self._report = report
        self.run = 0
        self.lost = ""

    async def begin(self, direction: Direction, started: datetime) -> None:
        """Keep that the run begins; ``run`` is its number then, and stays 0 without a record."""
        if self._host.journal is None:
            self._lose(self._host.journal_error)
            return
        try:
            self.run = await self._host.journal.begin(
                direction, self._host.boot_id, started, self._host.intents.read().number
            )
        except JournalError as error:
            self._lose(f"this run is not recorded, and goes on: {error}")

    async def transition(self, transition: Transition) -> None:
        """Keep that a domain is about to enter a phase, before it does."""
        if self._host.journal is not None and self.run:
            await self._keep(self._host.journal.record(self.run, transition))

    async def away(self, definition: Definition, result: Result) -> None:
        """Keep that another tool has suspended the domain while it was being stopped."""
        moment = Moment(self._host.clock.wall(), self._host.boot_id)
        await self._keep(self._host.intents.intend(suspended(definition, moment, result.domid)))

    async def settle(self, result: Result) -> None:
        """Keep how a domain's part ended."""
        if self._host.journal is not None and self.run:
            at = self._host.clock.wall()
            await self._keep(self._host.journal.settle(self.run, result, at))

    async def finish(self, ended: datetime, exit_status: int) -> None:
        """Keep that the run has ended, and with which exit status."""
        if self._host.journal is not None and self.run:
            await self._keep(self._host.journal.finish(self.run, ended, exit_status))

    async def _keep(self, record: Awaitable[None]) -> None:
        try:
            await record
        except JournalError as error:
            self._lose(f"the record of this run, which goes on, is incomplete: {error}")

    def _lose(self, message: str) -> None:
        if not self.lost:
            self.lost = message
            self._report(logging.ERROR, message)
