"""The definitions in ``tests/data``: files that xl takes, with what it reads, and files it refuses.

Beside each valid file lies what libxlutil 4.17 and 4.20 hold after reading it: every value as text,
and as a number those that ``xlu_cfg_get_long`` gives; with the domain's name, UUID (null when
the file states none that counts) and kind, as ``xl create --dryrun`` prints them.
``malformed/expected.json`` says where each malformed file goes wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "definitions"

VALID = sorted(path.stem for path in (FOLDER / "valid").glob("*.cfg"))
MALFORMED = sorted(path.stem for path in (FOLDER / "malformed").glob("*.cfg"))


def valid_path(name: str) -> Path:
    return FOLDER / "valid" / f"{name}.cfg"


def malformed_path(name: str) -> Path:
    return FOLDER / "malformed" / f"{name}.cfg"


def read(path: Path) -> str:
    """The text of a definition, line ends and odd bytes included."""
    return path.read_bytes().decode(errors="surrogateescape")


def truth(name: str) -> dict[str, Any]:
    """What xl makes of a valid file."""
    document: dict[str, Any] = json.loads(valid_path(name).with_suffix(".json").read_text())
    return document


def expectations() -> dict[str, dict[str, Any]]:
    """Where each malformed file goes wrong and what the message must say."""
    document: dict[str, dict[str, Any]] = json.loads(
        (FOLDER / "malformed" / "expected.json").read_text()
    )
    return document
