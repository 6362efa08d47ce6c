"""The report of a run, for a person: all outcomes, a summary, and what to type next."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import counted, duration, outcome_colour, printable, table
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamplighter.cli.output.text import Style
    from lamplighter.model.run import Result, Run

#: For so many domains the report says what to type next; more would only repeat it.
ADVISED = 8

HEADERS = ("DOMAIN", "OUTCOME", "TIME", "NOTE")

#: The outcomes of a domain's part that was not begun, or not waited for.
_UNDONE = (Outcome.SKIPPED, Outcome.UNKNOWN)


def report_text(run: Run, seconds: float, style: Style, *, console: str = "") -> str:
    """Return the report of a run: the outcomes, and what to type next for those that are not good.

    ``seconds`` is how long the run took, in host seconds.
    """
    parts = [nothing_to_do(run.direction)]
    if run.results:
        parts = [outcome_table(run.results, style), summary(run, seconds, style)]
    commands: list[tuple[str, str]] = []
    bad = sorted((r for r in run.results if not r.good), key=lambda r: r.name)
    for result in bad[:ADVISED]:
        name = shlex.quote(printable(result.name))
        explain = (f"lamplighter explain {name}", "its settings and where they come from")
        again = (f"lamplighter {run.direction.value} {name}", "try again")
        if result.outcome is Outcome.FORCED:
            commands.append(explain)
        elif result.outcome is Outcome.HELD:
            commands += [(f"lamplighter release {name}", "let it be started again"), again]
        elif result.outcome is Outcome.UNKNOWN:
            commands += [("lamplighter status", f"the state of {name} now"), again]
        elif console and result.domid is not None:
            commands += [explain, (f"{console} {name}", "the guest's console"), again]
        else:
            commands += [explain, again]
    width = max((len(command) for command, _ in commands), default=0)
    for command, purpose in commands:
        parts[-1] += f"\n    {command:<{width}}  # {purpose}"
    if len(bad) > ADVISED:
        parts[-1] += f"\n    ... and so on for {len(bad) - ADVISED} more"
    if run.lost:
        parts.append(style.paint(printable(run.lost), "bad"))
    return "\n\n".join(parts)


def nothing_to_do(direction: Direction) -> str:
    """Return why a run had no domain at all."""
    if direction is Direction.UP:
        return "up: no domain is defined; nothing to do"
    return "down: no domain is running; nothing to do"


def outcome_table(results: Sequence[Result], style: Style) -> str:
    """Lay out every domain's outcome, the ones that need attention last."""
    ordered = sorted(results, key=lambda result: (not result.good, result.name))
    rows = [
        (r.name, r.outcome.value, duration(r.seconds) if r.seconds else "", r.note) for r in ordered
    ]
    colours = [{1: outcome_colour(r.outcome, good=r.good)} for r in ordered]
    return table(HEADERS, rows, style, colours=colours)


def summary(run: Run, seconds: float, style: Style) -> str:
    """Summarise a run in one sentence."""
    counted_outcomes = Counter(result.outcome for result in run.results)
    counts = ", ".join(f"{n} {one.value}" for one in Outcome if (n := counted_outcomes[one]))
    bad = sum(not result.good for result in run.results)
    domains = counted(len(run.results), "domain")
    sentence = f"{run.direction.value}: {domains} in {duration(seconds)}: {counts}"
    if not bad:
        return style.paint(f"{sentence}.", "good")
    needs = "1 needs attention" if bad == 1 else f"{bad} need attention"
    return style.paint(f"{sentence}. {needs}:", "bad")


def interrupted_text(run: Run, signal: str, names: Sequence[str]) -> str:
    """Return what a run that a signal ended leaves undone, and how to continue.

    ``names`` are the domains that the run was for; none means all.
    """
    left = sorted(r.name for r in run.results if not r.good and r.outcome in _UNDONE)
    if not left:
        return f"interrupted by {signal}: nothing is left undone"
    shown = ", ".join(printable(name) for name in left[:ADVISED])
    more = f" and {len(left) - ADVISED} more" if len(left) > ADVISED else ""
    again = shlex.join(["lamplighter", run.direction.value, *map(printable, names)])
    return (
        f"interrupted by {signal}: left undone, of {counted(len(run.results), 'domain')}: "
        f"{shown}{more}\n"
        f"  {again} continues with them; lamplighter status shows the state of each"
    )
