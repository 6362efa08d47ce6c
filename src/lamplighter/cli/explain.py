"""``lamplighter explain DOMAIN``: where each setting comes from and what follows from it.

It reads files only: neither the toolstack nor XenStore is asked.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lamplighter.cli.output.problems import problem_text
from lamplighter.cli.output.text import printable, style_of, table
from lamplighter.engine.explain import when_host_starts, when_host_stops
from lamplighter.engine.policy import layers
from lamplighter.errors import UsageError
from lamplighter.formats.definition import PARAMETERS, policy_settings
from lamplighter.formats.durations import format_duration
from lamplighter.formats.suggest import closest
from lamplighter.model.problem import BUILT_IN
from lamplighter.report.documents import problem_document
from lamplighter.service.inventory import definition_owner, load_inventory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.policy import Configuration, Inventory, ManagedDomain, Policy, Setting
    from lamplighter.model.problem import Location, Problem

HELP = "show where each setting of a domain comes from and what follows from it"

#: The name that a definition has for a setting.
XEND_WORDS = {key: parameter for parameter, key in PARAMETERS.items()}

HEADERS = ("SETTING", "VALUE", "FROM")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is told of one domain. ``managed`` is None when no definition is usable.

    ``stop_budget`` is the host's, in seconds; 0 means none.
    """

    name: str
    managed: ManagedDomain | None
    policy: Policy
    settings: Mapping[str, tuple[Setting[Any], ...]]
    problems: tuple[Problem, ...]
    stop_budget: float = 0.0

    @property
    def follows(self) -> tuple[str, ...]:
        """What the host's start and stop do with it, in plain words."""
        blocked = next((problem for problem in self.problems if problem.fatal), None)
        if self.managed is None:
            start = "It is never started: there is no definition of it that can be used."
        else:
            start = when_host_starts(self.name, self.policy, blocked)
        kind = self.managed.definition.kind if self.managed else None
        return start, when_host_stops(self.policy, kind, self.stop_budget)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("domain", metavar="DOMAIN", help="its name or UUID")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do it; return the exit status."""
    configuration = context.configuration()
    inventory = load_inventory(configuration, owner=definition_owner(configuration))
    explanation = explain(args.domain, configuration, inventory)
    if context.as_json:
        context.print_json(explanation_document(explanation))
    else:
        context.print(explanation_text(explanation, style_of(context.out, context.environ)))
    return 0


def explain(given: str, configuration: Configuration, inventory: Inventory) -> Explanation:
    """Gather what is known of a domain; raise ``UsageError`` when no file speaks of it."""
    name = _find(given, inventory)
    managed = inventory.domains.get(name)
    stated: dict[str, Setting[Any]] = {}
    if managed is not None:
        definition = managed.definition
        stated, _ = policy_settings(definition.values, definition.locations)
    policy = inventory.policy_of(name)
    problems = tuple(
        problem
        for problem in inventory.problems
        if problem.domain == name or problem.where == policy.stop.origin
    )
    said = layers(configuration, name, stated)
    budget = configuration.host.stop_budget.value
    return Explanation(name, managed, policy, said, problems, budget)


def _find(given: str, inventory: Inventory) -> str:
    known = {*inventory.domains, *inventory.blocked, *inventory.named}
    if given in known:
        return given
    for name, managed in inventory.domains.items():
        if str(managed.definition.uuid) == given.lower():
            return name
    near = closest(given, known)
    hint = f"did you mean {near}?" if near else "lamplighter status lists them all"
    raise UsageError(f"no file speaks of a domain {given!r}", hint=hint)


# --- text ------------------------------------------------------------------------------------


def explanation_text(explanation: Explanation, style: Style) -> str:
    """Lay it out: what it is, each setting with its place, what follows, what is wrong."""
    parts = [_heading(explanation, style), _settings_table(explanation, style)]
    parts.append("\n".join(_wrapped(sentence, style) for sentence in explanation.follows))
    parts += [problem_text(problem, style) for problem in explanation.problems]
    return "\n\n".join(parts)


def _heading(explanation: Explanation, style: Style) -> str:
    name = style.paint(printable(explanation.name), "strong")
    if explanation.managed is None:
        return name
    definition = explanation.managed.definition
    identity = f"UUID {definition.uuid}" if definition.uuid else "no UUID of its own"
    path = printable(definition.path)
    return f"{name}: {definition.kind.value.upper()}, {identity}, defined in {path}"


def _settings_table(explanation: Explanation, style: Style) -> str:
    rows: list[tuple[str, str, str]] = []
    colours: list[dict[int, str]] = []
    for key, (winner, *overridden) in explanation.settings.items():
        rows.append((key, shown(winner.value), _said(key, winner, explanation)))
        colours.append({})
        for setting in overridden:
            rows.append(
                ("", shown(setting.value), f"{_said(key, setting, explanation)}; overridden")
            )
            colours.append({1: "quiet"})
    return table(HEADERS, rows, style, colours=colours)


def _said(key: str, setting: Setting[Any], explanation: Explanation) -> str:
    """Where a value was said, and in which other words."""
    said = str(setting.origin)
    managed = explanation.managed
    if managed is not None and setting.origin.file == managed.definition.path:
        said += f", {XEND_WORDS[key]}"
    return f"{said}, which says suspend" if setting.note else said


def _wrapped(sentence: str, style: Style) -> str:
    return textwrap.fill(sentence, style.width) if style.width else sentence


def shown(value: object) -> str:
    """Write a value as one would in lamplighter.toml."""
    if isinstance(value, Enum):
        return f'"{value.value}"'
    return f'"{format_duration(value)}"' if isinstance(value, float) else str(value)


# --- JSON ------------------------------------------------------------------------------------


def explanation_document(explanation: Explanation) -> dict[str, object]:
    """``explain``; durations are seconds."""
    definition = explanation.managed.definition if explanation.managed else None
    return {
        "name": explanation.name,
        "uuid": str(definition.uuid) if definition and definition.uuid else None,
        "kind": definition.kind.value if definition else None,
        "path": definition.path if definition else None,
        "settings": {
            key: _setting_document(winner) | {"overridden": [_setting_document(s) for s in others]}
            for key, (winner, *others) in explanation.settings.items()
        },
        "follows": list(explanation.follows),
        "problems": [problem_document(problem) for problem in explanation.problems],
    }


def _setting_document(setting: Setting[Any]) -> dict[str, object]:
    value = setting.value.value if isinstance(setting.value, Enum) else setting.value
    return {"value": value, "origin": _place(setting.origin), "note": setting.note}


def _place(origin: Location) -> dict[str, object] | None:
    """File, line and column; null for what is built in."""
    if origin == BUILT_IN:
        return None
    return {"file": origin.file, "line": origin.line, "column": origin.column}
