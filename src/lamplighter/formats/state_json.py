"""The JSON of the state and run directories: domain events, the monitor's state, intents and holds.

A domain event is a line of the monitor's event log and an entry of what it serves. Intents and
holds are a document that is read whole or not at all: half of it does not mean what the whole does.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from lamplighter.model.domain import ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, MonitorState
from lamplighter.model.intent import Hold, Intent, Intents, Meant

VERSION = 1


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


def from_json(value: Any) -> DomainEvent:
    """Read what ``to_json`` wrote; ``ValueError`` for anything else."""
    try:
        end = value["end"]
        return DomainEvent(
            Change(value["way"]),
            str(value["name"]),
            UUID(value["uuid"]),
            int(value["domid"]),
            Initiator(value["by"]),
            str(value["why"]),
            _moment(value["at"]),
            str(value["boot_id"]),
            None if end is None else ShutdownReason[str(end).upper()],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no passage: {error!r}") from error


def to_line(domain_event: DomainEvent) -> bytes:
    """Return a domain event as one line, its end included."""
    return json.dumps(to_json(domain_event), separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> DomainEvent:
    """Read what ``to_line`` wrote; ``ValueError`` for anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no passage: {error!r}") from error
    return from_json(value)


def watched_to_json(watched: MonitorState) -> dict[str, object]:
    """Return what a monitor serves."""
    return {
        "boot_id": watched.boot_id,
        "since": watched.since.isoformat(),
        "looked": watched.listed_at.isoformat() if watched.listed_at is not None else None,
        "trouble": watched.error,
        "passages": [to_json(domain_event) for domain_event in watched.domain_events],
    }


def watched_from_json(value: Any) -> MonitorState:
    """Read what ``watched_to_json`` wrote; ``ValueError`` for anything else."""
    try:
        listed_at = value["looked"]
        return MonitorState(
            str(value["boot_id"]),
            _moment(value["since"]),
            None if listed_at is None else _moment(listed_at),
            str(value["trouble"]),
            tuple(from_json(one) for one in value["passages"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no word of a monitor: {error!r}") from error


def _moment(text: object) -> datetime:
    at = datetime.fromisoformat(str(text))
    if at.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return at


def format_intents(intents: Intents) -> str:
    """Return the text; ``parse_intents`` makes the same of it again."""
    document = {
        "version": VERSION,
        "intents": [
            {**one._asdict(), "meant": one.meant.value, "at": one.at.isoformat()}
            for one in intents.meant.values()
        ],
        "holds": [{**one._asdict(), "at": one.at.isoformat()} for one in intents.holds.values()],
    }
    return json.dumps(document, indent=1) + "\n"


def parse_intents(text: str) -> Intents:
    """Return what the text says; raise ``ValueError`` when it is not whole or not ours."""
    try:
        document = json.loads(text)
        version = document["version"]
        if version == VERSION:
            meant = [
                Intent(
                    **_texts(entry, "domain", "name", "reason", "said_by", "boot_id"),
                    meant=Meant(entry["meant"]),
                    at=datetime.fromisoformat(entry["at"]),
                    domid=None if entry["domid"] is None else int(entry["domid"]),
                )
                for entry in document["intents"]
            ]
            holds = [
                Hold(
                    **_texts(entry, "domain", "name", "reason", "said_by"),
                    at=datetime.fromisoformat(entry["at"]),
                )
                for entry in document["holds"]
            ]
            return Intents({one.domain: one for one in meant}, {one.domain: one for one in holds})
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not what was written ({error!r})") from error
    raise ValueError(f"it has version {version!r}, this Lamplighter knows {VERSION}")


def _texts(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    values = {key: entry[key] for key in keys}
    for key, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
    return values
