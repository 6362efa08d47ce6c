"""Holding a domain whose start fails again and again, so that it is not tried for ever."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine import intent
from lamplighter.errors import JournalError
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.intent import OURSELVES, Hold
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from lamplighter.model.run import Run
    from lamplighter.service.managed_host import Host

logger = logging.getLogger(__name__)


async def hold_crash_loops(host: Host, run: Run) -> list[Hold]:
    """Hold each domain whose start has failed again and again; raise ``JournalError``.

    None is held where most starts failed: then the cause is the host's, such as a bridge or a disk
    that came late, and proves nothing about any domain.
    """
    failed = [result for result in run.results if result.outcome is Outcome.FAILED]
    if host.journal is None or run.direction is not Direction.UP or not failed:
        return []
    if intent.host_at_fault(run.results):
        message = "%d starts failed, more than did not: the cause is the host's, and none is held"
        logger.warning(message, len(failed))
        return []
    holds, now, known = [], host.clock.wall(), host.intents.read()
    reader = JournalReader(Path(host.configuration.host.state.value))
    try:
        for result in failed:
            managed = host.inventory.domains.get(result.name)
            if managed is not None and known.hold_of(managed.definition) is None:
                key = managed.definition.key
                failures = reader.failed_starts(managed.name, managed.definition.uuid)
                evidence = intent.crash_loop(failures, managed.policy, now)
                if evidence is not None:
                    holds.append(Hold(key, managed.name, evidence, OURSELVES, now))
    finally:
        reader.close()
    await host.intents.hold(*holds)
    with suppress(JournalError):  # they are in force, whatever history shows
        await host.journal.record_holds(*holds, intents=host.intents.read().number)
    return holds
