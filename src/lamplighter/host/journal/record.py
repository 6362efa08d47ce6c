"""Reads what is on record of a host, once for each command."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.errors import JournalError
from lamplighter.host.event_log import read_event_log
from lamplighter.host.journal.intents import IntentsUnknown, load_intents
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.intent import Intents
from lamplighter.model.record import Record

if TYPE_CHECKING:
    from lamplighter.model.policy import HostSettings


def read_record(host: HostSettings, boot_id: str) -> Record:
    """Return what the state directory has on record; never raises: see ``Record.errors``.

    Where ``boot_id`` is empty, the boot is not known, and nothing is known of it.
    """
    directory, run = Path(host.state.value), Path(host.run.value)
    record, evidence = Record(), None
    errors: list[JournalError] = []
    try:
        with closing(JournalReader(directory)) as reader, reader.moment():
            evidence = reader.evidence()
            unfinished = reader.unfinished()
            last = reader.last_records(boot_id) if boot_id else {}
        record = record._replace(unfinished=unfinished, last=last)
    except JournalError as error:
        errors.append(error)
    try:
        record = record._replace(intents=load_intents(directory, evidence, run=run))
    except IntentsUnknown as error:
        errors = [error, *(other for other in errors if other.message != error.message)]
        record = record._replace(intents=Intents(holds=error.holds, error=error.message))
    with suppress(JournalError):  # what the monitor saw is never needed
        record = record._replace(domain_events=tuple(read_event_log(directory)))
    return record._replace(errors=errors)
