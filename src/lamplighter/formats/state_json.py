"""The JSON of the state and run directories: domain events, the monitor's state, intents and holds.

A domain event is a line of the monitor's event log and an entry of what it serves. Intents and
holds are a document that is read whole or not at all: half of it does not mean what the whole does.

Another process wrote what is read here, and a crash or a person may have damaged it. ``parse`` and
the ``get`` functions raise ``ValueError`` for anything unexpected, and name the key; the holder of
the host's lock and the unit's marker are read with them, too.
"""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

from lamplighter.model.domain import ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, MonitorState
from lamplighter.model.intent import Hold, Intent, Intents, Meant

#: The version of the document of intents and holds; version 1 had no ``number``.
VERSION = 2

#: More changes than any host makes, and a number that every database takes.
NUMBER_MAX = 1 << 60


class NewerDocument(ValueError):
    """The document was written by a version that this one does not know."""


def parse(text: str | bytes, *, unique: bool = False) -> object:
    """Return a JSON document, for the ``get`` functions; ``ValueError``.

    ``unique``: a key that an object has twice is an error, too; otherwise its last value counts.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique if unique else None)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)} is there twice")
    return found


def get(document: object, key: str) -> object:
    """Return a value of an object, of whatever type."""
    if isinstance(document, dict) and key in document:
        value: object = document[key]
        return value
    raise ValueError(f"{key} is missing")


def get_text(document: object, key: str) -> str:
    """Return a string of an object."""
    value = get(document, key)
    if isinstance(value, str):
        return value
    raise ValueError(f"{key} is not a string")


def get_number(document: object, key: str) -> int:
    """Return a whole number of an object."""
    value = get(document, key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{key} is not a whole number")


def get_moment(document: object, key: str) -> datetime:
    """Return a date and time of an object, with its time zone."""
    at = datetime.fromisoformat(get_text(document, key))
    if at.tzinfo is None:
        raise ValueError(f"{key} has no time zone")
    return at


def get_list(document: object, key: str) -> list[object]:
    """Return a list of an object."""
    value = get(document, key)
    if isinstance(value, list):
        return value
    raise ValueError(f"{key} is not a list")


def to_json(domain_event: DomainEvent) -> dict[str, object]:
    """Return a domain event as what ``json`` can write."""
    return {
        "at": domain_event.at.isoformat(),
        "way": domain_event.way.value,
        "name": domain_event.name,
        "uuid": str(domain_event.uuid),
        "domid": domain_event.domid,
        "by": domain_event.by.value,
        "why": domain_event.why,
        "end": domain_event.end.name.lower() if domain_event.end is not None else None,
        "boot_id": domain_event.boot_id,
    }


def from_json(value: object) -> DomainEvent:
    """Read what ``to_json`` wrote; ``ValueError`` for anything else."""
    try:
        end = None if get(value, "end") is None else get_text(value, "end")
        return DomainEvent(
            Change(get_text(value, "way")),
            get_text(value, "name"),
            UUID(get_text(value, "uuid")),
            get_number(value, "domid"),
            Initiator(get_text(value, "by")),
            get_text(value, "why"),
            get_moment(value, "at"),
            get_text(value, "boot_id"),
            None if end is None else ShutdownReason[end.upper()],
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"not a domain event: {error!r}") from error


def to_line(domain_event: DomainEvent) -> bytes:
    """Return a domain event as one line, its end included."""
    return json.dumps(to_json(domain_event), separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> DomainEvent:
    """Read what ``to_line`` wrote; ``ValueError`` for anything else."""
    try:
        value = parse(line)
    except ValueError as error:
        raise ValueError(f"not a domain event: {error!r}") from error
    return from_json(value)


def watched_to_json(watched: MonitorState) -> dict[str, object]:
    """Return what a monitor serves."""
    return {
        "boot_id": watched.boot_id,
        "since": watched.since.isoformat(),
        "looked": watched.listed_at.isoformat() if watched.listed_at is not None else None,
        "trouble": watched.error,
        "passages": [to_json(domain_event) for domain_event in watched.last_events],
    }


def watched_from_json(value: object) -> MonitorState:
    """Read what ``watched_to_json`` wrote; ``ValueError`` for anything else."""
    try:
        return MonitorState(
            get_text(value, "boot_id"),
            get_moment(value, "since"),
            None if get(value, "looked") is None else get_moment(value, "looked"),
            get_text(value, "trouble"),
            tuple(from_json(entry) for entry in get_list(value, "passages")),
        )
    except ValueError as error:
        raise ValueError(f"not a monitor's state: {error!r}") from error


def format_intents(intents: Intents) -> str:
    """Return the text; ``parse_intents`` reads it back."""
    document = {
        "version": VERSION,
        "number": intents.number,
        "intents": [
            {**one._asdict(), "meant": one.meant.value, "at": one.at.isoformat()}
            for one in intents.meant.values()
        ],
        "holds": [{**one._asdict(), "at": one.at.isoformat()} for one in intents.holds.values()],
    }
    return json.dumps(document, indent=1) + "\n"


def parse_intents(text: str) -> Intents:
    """Return what the text says; raise ``ValueError`` when it is incomplete or not ours."""
    document = parse(text, unique=True)
    try:
        version = get(document, "version")
        if type(version) is int and version in (1, VERSION):
            meant = [
                Intent(
                    **_texts(entry, "domain", "name", "reason", "said_by", "boot_id"),
                    meant=Meant(get_text(entry, "meant")),
                    at=datetime.fromisoformat(get_text(entry, "at")),
                    domid=None if get(entry, "domid") is None else get_number(entry, "domid"),
                )
                for entry in get_list(document, "intents")
            ]
            holds = [
                Hold(
                    **_texts(entry, "domain", "name", "reason", "said_by"),
                    at=datetime.fromisoformat(get_text(entry, "at")),
                )
                for entry in get_list(document, "holds")
            ]
            return Intents(
                {one.domain: one for one in meant},
                {one.domain: one for one in holds},
                number=_number(document) if version == VERSION else 0,
            )
    except ValueError as error:
        raise ValueError(f"it is not what was written ({error})") from error
    raise NewerDocument(f"it has version {version!r}, this Lamplighter knows {VERSION}")


def _number(document: object) -> int:
    number = get_number(document, "number")
    if not 0 < number <= NUMBER_MAX:
        raise ValueError(f"number is {number}")
    return number


def _texts(entry: object, *keys: str) -> dict[str, str]:
    return {key: get_text(entry, key) for key in keys}
