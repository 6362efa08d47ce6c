"""What several scenarios do or read in the same way."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.dom0 import Dom0

UNIT = "lamplighter-domains.service"
MONITOR = "lamplighter-monitor.service"


def runs_of(host: Dom0, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the journal's newest runs, the newest first."""
    answer = host.lamplighter("history", "--limit", str(limit))
    assert answer.status == 0, str(answer)
    runs: list[dict[str, Any]] = answer.document["runs"]
    return runs


def ends(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return how each domain of a run ended, by name."""
    return {entry["name"]: entry for entry in run["domains"]}


def outcomes(run: dict[str, Any]) -> dict[str, str]:
    """Return the outcome of each domain of a run that did not end as ``skipped``, by name."""
    found = {name: end["outcome"] for name, end in ends(run).items()}
    return {name: outcome for name, outcome in found.items() if outcome != "skipped"}


def transitions(host: Dom0, name: str) -> dict[str, dict[str, Any]]:
    """Return a domain's transitions in the newest run, by what it came to; of several the first."""
    found = host.lamplighter("history", name, "--transitions").document["runs"][0]["transitions"]
    return {one["after"]: one for one in reversed(found) if one["name"] == name}


def seconds_between(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return how many seconds lie between two transitions."""
    moments = (datetime.fromisoformat(one["at"]) for one in (after, before))
    return (next(moments) - next(moments)).total_seconds()
