"""Intent, read before a run, learned from what is seen, and written before anything is done.

What is decided is in ``engine/intent``. Where the journal cannot be read, its copy is believed:
both say the same (``host/journal/intents``). Not so where it is a newer version's: that may know of
reasons to leave a domain alone that this one has never heard of. Intents that cannot be read at
all are a trouble of their own: nobody then knows which domains are held (``Intents.error``).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine import intent
from lamplighter.errors import JournalError, JournalForeign
from lamplighter.host.event_log import read_event_log
from lamplighter.host.journal.intents import read_copy
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.domain_event import Moment
from lamplighter.model.intent import Hold, Intents, Meant
from lamplighter.model.run import Direction, Outcome
from lamplighter.service.managed_host import shutdown_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lamplighter.model.domain import DomainInfo, ShutdownReason
    from lamplighter.model.intent import Intent
    from lamplighter.model.policy import Configuration
    from lamplighter.model.run import LastRecord, Plan, Result, Run
    from lamplighter.service.managed_host import Host

#: Who holds a domain whose start fails again and again.
OURSELVES = "lamplighter"


def read_intents(
    configuration: Configuration, tell: Callable[[JournalError], None] | None = None
) -> Intents:
    """Read what is meant of each domain; never raises: see ``Intents.error``.

    ``tell`` is told why the journal could not be read, if it could not.
    """
    directory = Path(configuration.host.state.value)
    try:
        reader = JournalReader(directory)
        try:
            return reader.intents()
        finally:
            reader.close()
    except JournalError as error:
        if tell is not None:
            tell(error)
        return _from_copy(directory, error)


def _from_copy(directory: Path, error: JournalError) -> Intents:
    if isinstance(error, JournalForeign):
        return Intents(error=error.message)
    with suppress(JournalError):
        if (copy := read_copy(directory)) is not None:
            return copy
    return Intents(error=error.message)


async def learn_intents(host: Host, domains: Sequence[DomainInfo], intents: Intents) -> Intents:
    """Return the intents with what is learned from what is seen, which is written, too.

    Raises ``JournalError``: then what was learned is not kept.
    """
    learned = await find_intents(host, domains, intents)
    if host.journal is not None:
        await host.journal.intend(*learned)
    return intents.updated(learned)


async def find_intents(host: Host, domains: Sequence[DomainInfo], intents: Intents) -> list[Intent]:
    """Return what the next run learns from what is seen, and from what the monitor saw."""
    if intents.error:
        return []
    learned = _seen_by_the_monitor(host, intents)
    known = intents.updated(learned)
    last_records = _last_records(host)
    ends: dict[str, ShutdownReason | None] = {}
    for managed, domid in intent.ended_unasked(host.inventory, domains, known, last_records):
        result = last_records[managed.name].result
        uuid = managed.definition.uuid or (result.uuid if result is not None else None)
        if uuid is not None:
            ends[managed.name] = await shutdown_reason(host, domid, uuid, managed.name)
    moment = Moment(host.clock.wall(), host.boot_id)
    return learned + intent.learn(host.inventory, domains, known, ends, moment)


def _seen_by_the_monitor(host: Host, intents: Intents) -> list[Intent]:
    """Return what is learned from the monitor's logbook; a logbook is never needed."""
    domain_events = read_event_log(Path(host.configuration.host.state.value))
    try:
        return intent.learn_from_domain_events(host.inventory, domain_events, intents, host.boot_id)
    except JournalError:
        return []


def _last_records(host: Host) -> Mapping[str, LastRecord]:
    """Return what runs wrote in this boot; a journal that cannot be read tells nothing."""
    try:
        reader = JournalReader(Path(host.configuration.host.state.value))
        try:
            return reader.last_records(host.boot_id)
        finally:
            reader.close()
    except JournalError:
        return {}


async def write_word(host: Host, plan: Plan, said_by: str) -> None:
    """Write what follows from naming the plan's domains by hand; raise ``JournalError``.

    What is held, or cannot be started, is not meant to be up because somebody tried.
    """
    if host.journal is None:
        return
    meant = Meant.UP if plan.direction is Direction.UP else Meant.DOWN
    refused = (Outcome.HELD, Outcome.FAILED)
    named = [
        (host.inventory.domains[step.name], step.info)
        for step in plan.steps
        if step.name in host.inventory.domains and step.outcome not in refused
    ]
    moment = Moment(host.clock.wall(), host.boot_id)
    await host.journal.intend(*intent.said(named, meant, said_by, moment))


async def hold_crash_loops(host: Host, run: Run) -> list[Hold]:
    """Hold each domain whose start has failed again and again; raise ``JournalError``."""
    if host.journal is None or run.direction is not Direction.UP:
        return []
    holds = [hold for result in run.results if (hold := _crash_loop(host, result)) is not None]
    await host.journal.hold(*holds)
    return holds


def _crash_loop(host: Host, result: Result) -> Hold | None:
    managed = host.inventory.domains.get(result.name)
    if managed is None or result.outcome is not Outcome.FAILED or host.journal is None:
        return None
    definition, now = managed.definition, host.clock.wall()
    failures = host.journal.failed_starts(managed.name, definition.uuid)
    evidence = intent.crash_loop(failures, managed.policy, now)
    if not evidence:
        return None
    return Hold(definition.key, managed.name, evidence, OURSELVES, now)
