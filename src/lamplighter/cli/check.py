"""``lamplighter check``: reports problems of files, folders and other services on this host.

It changes nothing and asks neither the toolstack nor XenStore, so its answer is the same whether
the host is up or not. It exits with 0 only when there is no problem, not even a warning.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.cli.output.problems import problem_text
from lamplighter.cli.output.text import counted, style_of
from lamplighter.errors import (
    ConfigurationError,
    JournalDamaged,
    JournalError,
    JournalForeign,
)
from lamplighter.host.files.reading import folder_problem
from lamplighter.host.journal.intent_file import FILE_NAME as INTENTS
from lamplighter.host.journal.intents import load_intents
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.schema import FILE_NAME
from lamplighter.host.systemd.units import conflicting_units
from lamplighter.model.policy import Inventory, Start
from lamplighter.model.problem import Location, Problem
from lamplighter.report.documents import problem_document
from lamplighter.service.inventory import definition_owner, load_inventory
from lamplighter.toolstacks.choose import is_embedded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.policy import Configuration

HELP = "check configuration, permissions and services for problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    inventory = Inventory()
    try:
        configuration = context.configuration()
    except ConfigurationError as error:
        # Without a configuration nothing else can be checked.
        where = Location(error.file, error.line, error.column) if error.file else None
        problems = [Problem(error.code, error.problem, where, hint=error.hint)]
    else:
        inventory = load_inventory(configuration, owner=definition_owner(configuration))
        problems = [*inventory.problems, *_host_problems(configuration)]
    status = ConfigurationError.exit_status if problems else 0
    if context.as_json:
        context.print_json(
            {
                "sound": not problems,
                "domains": len(inventory.domains),
                "problems": [problem_document(problem) for problem in problems],
                "exit": status,
            }
        )
    else:
        context.print(check_text(inventory, problems, style_of(context.out, context.environ)))
    return status


def check_text(inventory: Inventory, problems: Sequence[Problem], style: Style) -> str:
    """Lay out every problem and their number; without problems, what is defined."""
    if not problems:
        starts = [m for m in inventory.domains.values() if m.policy.start.value is Start.ALWAYS]
        defined = counted(len(inventory.domains), "domain")
        return f"no problems: {defined} defined, {len(starts)} of them started with the host"
    errors = sum(problem.fatal for problem in problems)
    warnings = len(problems) - errors
    counts = [counted(n, thing) for n, thing in ((errors, "error"), (warnings, "warning")) if n]
    return "\n".join([*(problem_text(p, style) for p in problems), "", ", ".join(counts)])


def _host_problems(configuration: Configuration) -> list[Problem]:
    """Return the problems of our folders, of the journal, and of services on the same domains."""
    owners = {0, definition_owner(configuration)}
    state_problem = folder_problem(configuration.host.state, owners)
    run_problem = folder_problem(configuration.host.run, owners)
    problems = [problem for problem in (state_problem, run_problem) if problem is not None]
    state = Path(configuration.host.state.value)
    try:
        with closing(JournalReader(state)) as reader:
            reader.check()
    except (JournalDamaged, JournalForeign) as error:
        where = Location(str(state / FILE_NAME))
        problems.append(Problem(error.code, error.message, where, hint=error.hint))
    except JournalError as error:
        if state_problem is None:  # what is wrong with the folder has been found above
            where = Location(str(state / FILE_NAME))
            problems.append(Problem(error.code, error.message, where, hint=error.hint))
    try:
        load_intents(state, run=Path(configuration.host.run.value))
    except JournalError as error:
        # What is wrong with the journal itself, or with the folder, has been found above.
        if not isinstance(error, JournalDamaged | JournalForeign) and state_problem is None:
            where = Location(str(state / INTENTS))
            problems.append(Problem(error.code, error.message, where, hint=error.hint))
    # Other services on the machine do not act on the domains of an embedded host.
    if not is_embedded(configuration):
        problems += conflicting_units()
    return problems
