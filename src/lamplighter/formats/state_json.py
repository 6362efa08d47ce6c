"""Passages as JSON: a line each in the monitor's logbook, an entry each in what it serves."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from lamplighter.model.domain import ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, MonitorState


def to_json(domain_event: DomainEvent) -> dict[str, object]:
    """Return a passage as what ``json`` can write."""
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
    """Return a passage as one line, its end included."""
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
        "looked": watched.looked.isoformat() if watched.looked is not None else None,
        "trouble": watched.trouble,
        "passages": [to_json(domain_event) for domain_event in watched.domain_events],
    }


def watched_from_json(value: Any) -> MonitorState:
    """Read what ``watched_to_json`` wrote; ``ValueError`` for anything else."""
    try:
        looked = value["looked"]
        return MonitorState(
            str(value["boot_id"]),
            _moment(value["since"]),
            None if looked is None else _moment(looked),
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
