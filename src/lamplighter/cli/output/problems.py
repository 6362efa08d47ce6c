"""Problems of files, as text for a person."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from lamplighter.cli.output.text import Style
    from lamplighter.model.problem import Problem

logger = logging.getLogger(__name__)


def log_unlisted_problems(problems: Iterable[Problem], listed: Collection[str]) -> None:
    """Log problems that concern no single domain, or a domain that the answer does not list.

    ``listed`` are the names of the domains whose own line shows their problem.
    """
    for problem in problems:
        if problem.domain is None or (problem.fatal and problem.domain not in listed):
            place = f"{problem.where}: " if problem.where else ""
            hint = f"\n  {problem.hint}" if problem.hint else ""
            level = logging.ERROR if problem.fatal else logging.WARNING
            logger.log(level, "%s%s%s", place, problem.message, hint)


def problem_text(problem: Problem, style: Style) -> str:
    """Lay out one problem: place and message, and below them the hint."""
    place = f"{problem.where}: " if problem.where else ""
    kind = style.paint("error", "bad") if problem.fatal else style.paint("warning", "busy")
    text = f"{kind}: {printable(f'{place}{problem.message}')}"
    return f"{text}\n  {printable(problem.hint)}" if problem.hint else text
