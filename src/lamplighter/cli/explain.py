"""``lamplighter explain DOMAIN``: where each setting comes from and what follows from it.

It reads files only: neither the toolstack nor XenStore is asked.
"""

from __future__ import annotations

import textwrap
from enum import Enum
from typing import TYPE_CHECKING, Any

from lamplighter.cli.output.problems import problem_text
from lamplighter.cli.output.text import printable, style_of, table
from lamplighter.engine.explain import Explanation, explain
from lamplighter.formats.definition import PARAMETERS
from lamplighter.formats.durations import format_duration
from lamplighter.model.problem import BUILT_IN
from lamplighter.report.documents import problem_document
from lamplighter.service.inventory import definition_owner, load_inventory

if TYPE_CHECKING:
    import argparse

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.policy import Setting

HELP = "show where each setting of a domain comes from and what follows from it"

#: The parameter of a definition for each setting.
DEFINITION_KEYS = {key: parameter for parameter, key in PARAMETERS.items()}

HEADERS = ("SETTING", "VALUE", "FROM")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("domain", metavar="DOMAIN", help="its name or UUID")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    configuration = context.configuration()
    inventory = load_inventory(configuration, owner=definition_owner(configuration))
    explanation = explain(args.domain, configuration, inventory)
    if context.as_json:
        context.print_json(explanation_document(explanation))
    else:
        context.print(explanation_text(explanation, style_of(context.out, context.environ)))
    return 0


def explanation_text(explanation: Explanation, style: Style) -> str:
    """Lay out the domain, each setting with its origin, what follows, and the problems."""
    heading = style.paint(printable(explanation.name), "strong")
    if explanation.managed is not None:
        definition = explanation.managed.definition
        identity = f"UUID {definition.uuid}" if definition.uuid else "no UUID of its own"
        path = printable(definition.path)
        heading += f": {definition.kind.value.upper()}, {identity}, defined in {path}"
    rows: list[tuple[str, str, str]] = []
    colours: list[dict[int, str]] = []
    for key, (winner, *overridden) in explanation.settings.items():
        rows.append((key, shown(winner.value), _origin_text(key, winner, explanation)))
        colours.append({})
        for setting in overridden:
            origin = _origin_text(key, setting, explanation)
            rows.append(("", shown(setting.value), f"{origin}; overridden"))
            colours.append({1: "quiet"})
    follows = list(explanation.follows)
    if style.width:
        follows = [textwrap.fill(sentence, style.width) for sentence in follows]
    parts = [heading, table(HEADERS, rows, style, colours=colours), "\n".join(follows)]
    parts += [problem_text(problem, style) for problem in explanation.problems]
    return "\n\n".join(parts)


def _origin_text(key: str, setting: Setting[Any], explanation: Explanation) -> str:
    """Describe where a value was set, and under which other name."""
    text = str(setting.origin)
    managed = explanation.managed
    if managed is not None and setting.origin.file == managed.definition.path:
        text += f", {DEFINITION_KEYS[key]}"
    return f"{text}, which says suspend" if setting.note else text


def shown(value: object) -> str:
    """Return a value as it would be written in lamplighter.toml."""
    if isinstance(value, Enum):
        return f'"{value.value}"'
    return f'"{format_duration(value)}"' if isinstance(value, float) else str(value)


def explanation_document(explanation: Explanation) -> dict[str, object]:
    """Return the document of ``explain``; durations are seconds, a built-in has no origin."""
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
    at = setting.origin
    origin = None if at == BUILT_IN else {"file": at.file, "line": at.line, "column": at.column}
    return {"value": value, "origin": origin, "note": setting.note}
