"""xl and our parser agree on which definitions are valid and on every value in them.

The same files as in the unit tests, through ``xl create --dryrun`` and libxlutil of this host.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import xl_reads
from tests import definitions

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "lab/xl_reads.py",
    "src/lamplighter/formats/definition.py",
    "src/lamplighter/formats/xlcfg.py",
    "src/lamplighter/formats/xlcfg_tokens.py",
    "tests/data/*",
    "tests/definitions.py",
)
SHARE = 1
SECONDS = 30
PRODUCT = False
HOME = "/root/agreement"


def run(host: Dom0) -> None:
    keys = {name: sorted(definitions.truth(name)["values"]) for name in definitions.VALID}
    valid = [definitions.valid_path(name) for name in definitions.VALID]
    malformed = [definitions.malformed_path(name) for name in definitions.MALFORMED]
    host.copy([*valid, Path(xl_reads.__file__)], f"{HOME}/valid")
    host.copy(malformed, f"{HOME}/malformed")
    host.put(f"{HOME}/valid/keys.json", json.dumps(keys))
    host.put(f"{HOME}/malformed/keys.json", "{}")

    refused = _ask(host, "malformed")
    assert set(refused) == set(definitions.MALFORMED), "not every file was read"
    taken = [name for name, answer in refused.items() if answer["dryrun"] == 0]
    assert not taken, f"we refuse these, xl takes them: {taken}"

    read = _ask(host, "valid")
    assert set(read) == set(definitions.VALID), "not every file was read"
    for name, answer in read.items():
        expected = definitions.truth(name)
        assert answer["dryrun"] == 0, f"we take {name}.cfg, xl refuses it: {answer['said']}"
        assert answer["values"] == expected["values"], (
            f"{name}.cfg: {_differences(answer, expected)}"
        )
        assert answer["numbers"] == expected["numbers"], f"{name}.cfg: {answer['numbers']}"
        created = answer["domain"]["c_info"]
        assert created["name"] == expected["name"], f"{name}.cfg: {created}"
        assert created["type"] == expected["kind"], f"{name}.cfg: {created}"
        if expected["uuid"]:
            assert created["uuid"] == expected["uuid"], f"{name}.cfg: {created}"


def _ask(host: Dom0, folder: str) -> dict[str, Any]:
    command = f"python3 {HOME}/valid/xl_reads.py {HOME}/{folder}"
    answer: dict[str, Any] = json.loads(host.run(command, timeout=200).stdout)
    return answer


def _differences(answer: dict[str, Any], expected: dict[str, Any]) -> str:
    ours, theirs = expected["values"], answer["values"]
    return ", ".join(
        f"{key}: xl reads {theirs.get(key)!r}, we read {ours.get(key)!r}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    )[:2000]
