"""The JSON documents of the commands, an interface that scripts rely on.

Times are ISO 8601 with zone, durations are seconds. Keys are only ever added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.formats.state_json import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from lamplighter.engine.status import Row
    from lamplighter.errors import LamplighterError
    from lamplighter.model.domain_event import DomainEvent, MonitorState
    from lamplighter.model.intent import Hold, PastHold
    from lamplighter.model.plan import Plan
    from lamplighter.model.problem import Problem
    from lamplighter.model.run import Result, Run, Transition

Document = dict[str, object]


def run_document(run: Run, problems: Iterable[Problem]) -> Document:
    """Return the document of ``up`` and ``down``."""
    header = {
        "id": run.id or None,  # a run without a record in the journal has no number
        "direction": run.direction.value,
        "boot_id": run.boot_id,
        "started": _iso(run.started),
        "ended": _iso(run.ended),
        "record_lost": run.lost or None,  # why the journal does not have all of it
    }
    return {
        "run": header,
        "domains": [result_document(result) for result in run.results],
        "problems": [problem_document(problem) for problem in problems],
        "exit": run.exit,
    }


def nothing_done_document(why: str) -> Document:
    """Return the document of ``up`` and ``down`` when no domain was to be moved."""
    return {"run": None, "domains": [], "problems": [], "why": why, "exit": 0}


def history_document(
    runs: Iterable[Run],
    transitions: Mapping[int, Sequence[Transition]],
    holds: Iterable[PastHold] = (),
    domain_events: Iterable[DomainEvent] = (),
) -> Document:
    """Return the document of ``history``; ``transitions`` are those to show, by run."""
    past_runs: list[Document] = []
    for run in runs:
        document: Document = {
            "id": run.id,
            "direction": run.direction.value,
            "boot_id": run.boot_id,
            "started": _iso(run.started),
            "ended": _iso(run.ended),
            "exit": run.exit,
            "domains": [result_document(result) for result in run.results],
        }
        if run.id in transitions:
            document["transitions"] = [
                {
                    "name": one.name,
                    "uuid": _text(one.uuid),
                    "domid": one.domid,
                    "before": one.before.value,
                    "after": one.after.value,
                    "detail": one.detail,
                    "at": _iso(one.at),
                }
                for one in transitions[run.id]
            ]
        past_runs.append(document)
    return {
        "runs": past_runs,
        "holds": [
            {
                "name": past.hold.name,
                "reason": past.hold.reason,
                "by": past.hold.said_by,
                "since": _iso(past.hold.at),
                "released": _iso(past.released),
                "released_by": past.released_by or None,
            }
            for past in holds
        ],
        "passages": [to_json(domain_event) for domain_event in domain_events],
    }


def status_document(
    rows: Iterable[Row],
    problems: Iterable[Problem],
    watched: MonitorState | None,
    exit_status: int,
) -> Document:
    """Return the document of ``status``; ``watched`` is None when no monitor runs."""
    monitor = None
    if watched is not None:
        monitor = {
            "since": _iso(watched.since),
            "looked": _iso(watched.listed_at),
            "trouble": watched.error,
        }
    domains: list[Document] = []
    for row in rows:
        guest: Document | None = None
        if (reported := row.guest) is not None:
            progress, forced = reported.progress, reported.forced
            guest = {
                "version": reported.version,
                "ready": reported.ready,
                "waits_for": reported.waits_for or None,
                "progress": progress and {"text": progress.text, "percent": progress.percent},
                "forced": forced and {"request": forced.request, "why": forced.why or None},
                "garbled": list(reported.garbled),
            }
        domains.append(
            {
                "name": row.name,
                "uuid": _text(row.uuid),
                "domid": row.domid,
                "wanted": row.wanted.value,
                "seen": row.seen.value,
                "since": _iso(row.since),
                "why": row.why,
                "guest": guest,
            }
        )
    return {
        "domains": domains,
        "monitor": monitor,
        "problems": [problem_document(problem) for problem in problems],
        "exit": exit_status,
    }


def plan_document(plan: Plan, problems: Iterable[Problem]) -> Document:
    """Return the document of ``plan``."""
    return {
        "direction": plan.direction.value,
        "steps": [
            {
                "name": step.name,
                "uuid": _text(step.info.uuid if step.info else None)
                or _text(step.definition.uuid if step.definition else None),
                "domid": step.info.domid if step.info else None,
                "verb": step.verb.value,
                "reason": step.reason,
                "notes": list(step.notes),
                "outcome": step.outcome.value if step.outcome else None,
                "good": step.good,
            }
            for step in plan.steps
        ],
        "problems": [problem_document(problem) for problem in problems],
    }


def hold_document(name: str, hold: Hold | None) -> Document:
    """Return the document of ``hold`` and ``release``: a domain's hold in force, or None."""
    held = None
    if hold is not None:
        held = {"reason": hold.reason, "by": hold.said_by, "since": _iso(hold.at)}
    return {"name": name, "held": held, "exit": 0}


def holds_document(released: Sequence[str], held: Sequence[str]) -> Document:
    """Return the document of ``release --all`` and ``release --accept``: domains by name."""
    return {"released": list(released), "held": list(held), "exit": 0}


def problem_document(problem: Problem) -> Document:
    """Return one problem of a file."""
    return {
        "code": problem.code,
        "message": problem.message,
        "where": _text(problem.where),
        "domain": problem.domain,
        "hint": problem.hint,
        "fatal": problem.fatal,
    }


def error_document(error: LamplighterError) -> Document:
    """Return the error that ended a command."""
    described = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"error": described, "exit": error.exit_status}


def result_document(result: Result) -> Document:
    """Return one domain's outcome."""
    return {
        "name": result.name,
        "uuid": _text(result.uuid),
        "domid": result.domid,
        "outcome": result.outcome.value,
        "seconds": round(result.seconds, 3),
        "note": result.note,
        "good": result.good,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
