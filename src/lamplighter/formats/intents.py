"""Intents and holds as text: what a copy of them beside the journal looks like.

JSON, because a person who has lost the journal may want to read it. It is taken as a whole or not
at all: half of what was said is not what was said.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from lamplighter.model.intent import Hold, Intent, Intents, Meant

VERSION = 1


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
            meant = [_intent(entry) for entry in document["intents"]]
            holds = [_hold(entry) for entry in document["holds"]]
            return Intents({one.domain: one for one in meant}, {one.domain: one for one in holds})
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not what was written ({error!r})") from error
    raise ValueError(f"it has version {version!r}, this Lamplighter knows {VERSION}")


def _intent(entry: dict[str, Any]) -> Intent:
    domid = entry["domid"]
    return Intent(
        **_texts(entry, "domain", "name", "reason", "said_by", "boot_id"),
        meant=Meant(entry["meant"]),
        at=datetime.fromisoformat(entry["at"]),
        domid=None if domid is None else int(domid),
    )


def _hold(entry: dict[str, Any]) -> Hold:
    texts = _texts(entry, "domain", "name", "reason", "said_by")
    return Hold(**texts, at=datetime.fromisoformat(entry["at"]))


def _texts(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    values = {key: entry[key] for key in keys}
    for key, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
    return values
