"""``lamplighter history [DOMAIN]``: past runs and how each domain ended in them.

It reads the journal, even while a run writes it, and needs neither toolstack nor XenStore. For one
domain it also shows what the monitor recorded of it between the runs, from the event log. The
domain may be one that nobody knows any more, so its name is not looked up (``engine/naming``).
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import duration, moment, outcome_colour, printable, style_of, wrap
from lamplighter.engine.naming import means, means_hold
from lamplighter.errors import JournalError, UsageError
from lamplighter.host.event_log import read_event_log
from lamplighter.host.journal.intents import load_intents
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.intent import PastHold
from lamplighter.report.documents import history_document

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.run import Outcome, Result, Run, Transition

logger = logging.getLogger(__name__)

HELP = "show past runs and how each domain ended in them"

#: How many runs are shown by default, and at most.
LIMIT = 10
LIMIT_MAX = 1_000_000

#: How many characters of a boot id are shown: enough to tell two apart.
BOOT_ID_SHOWN = 8

#: The indent of continued lines below an outcome.
INDENT = " " * len("    unknown   ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("name", metavar="DOMAIN", nargs="?", help="show only this domain")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=LIMIT,
        help=f"show at most the N newest runs (default {LIMIT})",
    )
    parser.add_argument("--transitions", action="store_true", help="also show each transition")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    if not 1 <= args.limit <= LIMIT_MAX:
        raise UsageError(f"--limit {args.limit}: expected 1 to {LIMIT_MAX} runs")
    host = context.configuration().host
    state = Path(host.state.value)
    try:
        in_force = load_intents(state, run=Path(host.run.value)).holds
    except JournalError as error:
        logger.error("%s", error.full_message)
        in_force = {}
    holds = [PastHold(one) for _, one in sorted(in_force.items())]
    with closing(JournalReader(state)) as reader:
        runs = reader.runs(limit=args.limit, name=args.name)
        if args.name is not None:
            holds = [past for past in holds if means_hold(args.name, past.hold)]
            holds += [past for past in reader.holds(args.name) if past.released is not None]
        transitions = {
            one.id: reader.transitions(one.id, args.name) for one in runs if args.transitions
        }
    domain_events: list[DomainEvent] = []
    if args.name is not None:
        mine = (one for one in read_event_log(state) if means((args.name,), one.name, one.uuid))
        # A new file of the event log repeats the latest event of each domain.
        domain_events = list(deque(dict.fromkeys(mine), maxlen=args.limit))[::-1]
    if context.as_json:
        context.print_json(history_document(runs, transitions, holds, domain_events))
    else:
        text = history_text(runs, transitions, style_of(context.out, context.environ))
        if not runs and args.name is None:
            text = "no runs yet"
        elif not runs:
            text = f"no run of {printable(args.name)} is in the journal"
        context.print(text)
        for past in holds:
            verb, end = "is", ""
            if past.released is not None:
                verb = "was"
                end = f"; {printable(past.released_by)} released it {moment(past.released)}"
            hold = printable(past.hold.description)
            context.print(f"\n{printable(past.hold.name)} {verb} {hold}{end}")
        if domain_events:
            context.print("\nDomain events that the monitor recorded, the newest first:")
        for one in domain_events:
            change = f"{one.way.value} as domid {one.domid}: {printable(one.why)}"
            context.print(f"  {moment(one.at)}  {printable(one.name)} {change}")
    return 0


def history_text(
    runs: Sequence[Run],
    transitions: Mapping[int, Sequence[Transition]],
    style: Style,
) -> str:
    """Lay out runs, the newest first, with a line where the host booted between two."""
    parts: list[str] = []
    for number, one in enumerate(runs):
        if number and one.boot_id != runs[number - 1].boot_id:
            parts.append(style.paint("-- the host booted --", "quiet"))
        if one.ended is None:
            end = style.paint("has not ended: it is still running, or was killed", "busy")
        elif one.exit is None:
            end = style.paint("was killed; a later run completed its record", "busy")
        else:
            end = f"to {one.ended.astimezone():%H:%M:%S}, exit {one.exit}"
        boot = printable(one.boot_id[:BOOT_ID_SHOWN])
        title = style.paint(f"run {one.id}  {one.direction.value}", "strong")
        lines = [f"{title}  boot {boot}  {moment(one.started)} {end}"]
        lines += _result_lines(one.results, style)
        for move in transitions.get(one.id, ()):
            domid = "-" if move.domid is None else move.domid
            arrow = f"{move.before.value} -> {move.after.value}"
            detail = f": {printable(move.detail)}" if move.detail else ""
            name = printable(move.name)
            lines.append(f"      {moment(move.at)}  {name} (domid {domid})  {arrow}{detail}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _result_lines(results: Sequence[Result], style: Style) -> Iterable[str]:
    """Yield the good results by outcome, then each that needs attention with its note."""
    good: dict[Outcome, list[str]] = {}
    bad: list[tuple[Outcome, str]] = []
    for result in results:
        seconds = f" ({duration(result.seconds)})" if result.seconds else ""
        name = f"{printable(result.name)}{seconds}"
        if result.good:
            good.setdefault(result.outcome, []).append(name)
        else:
            bad.append((result.outcome, f"{name}: {printable(result.note)}"))
    rows = [(o, outcome_colour(o, good=True), ", ".join(names)) for o, names in good.items()]
    rows += [(outcome, "bad", text) for outcome, text in bad]
    for outcome, colour, text in rows:
        first, *others = wrap(text, style.width - len(INDENT) if style.width else 0)
        yield f"    {style.paint(f'{outcome.value:<8}', colour)}  {first}"
        yield from (INDENT + other for other in others)
