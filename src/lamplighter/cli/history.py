"""``lamplighter history [DOMAIN]``: past runs and how each domain ended in them.

It reads the journal, even while a run writes it, and needs neither toolstack nor XenStore. For one
domain it also shows what the monitor recorded of it between the runs, from the event log.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import duration, moment, outcome_colour, printable, style_of, wrap
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
    from lamplighter.model.run import Result, Run, Transition

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
    parser.add_argument("name", metavar="DOMAIN", nargs="?", help="only this domain's part")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=LIMIT,
        help=f"at most so many runs, the newest (default {LIMIT})",
    )
    parser.add_argument("--transitions", action="store_true", help="show each transition, too")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    if not 1 <= args.limit <= LIMIT_MAX:
        raise UsageError(f"--limit {args.limit}: expected 1 to {LIMIT_MAX} runs")
    configuration = context.configuration()
    state = Path(configuration.host.state.value)
    try:
        in_force = load_intents(state).holds
    except JournalError as error:
        context.warn_error(error)
        in_force = {}
    holds = [PastHold(one) for _, one in sorted(in_force.items())]
    reader = JournalReader(state)
    try:
        runs = reader.runs(limit=args.limit, name=args.name)
        if args.name is not None:
            named = (args.name, args.name.lower())
            holds = [past for past in holds if {past.hold.name, past.hold.domain} & {*named}]
            holds += [past for past in reader.holds(args.name) if past.released is not None]
        moves = {one.id: reader.transitions(one.id, args.name) for one in runs if args.transitions}
    finally:
        reader.close()
    domain_events = _events(args.name, args.limit, state)
    if context.as_json:
        context.print_json(history_document(runs, moves, holds, domain_events))
    else:
        style = style_of(context.out, context.environ)
        context.print(history_text(runs, moves, style) if runs else _nothing(args.name))
        for past in holds:
            context.print(f"\n{printable(past.hold.name)} {_hold(past)}")
        if domain_events:
            context.print("\nWhat the monitor saw, the newest first:")
        for domain_event in domain_events:
            context.print(_event_line(domain_event))
    return 0


def _events(name: str | None, limit: int, state: Path) -> list[DomainEvent]:
    """Return the newest events of a domain, given by name or UUID, the newest first."""
    if name is None:
        return []
    mine = (one for one in read_event_log(state) if name in (one.name, str(one.uuid)))
    # A new file of the event log repeats the latest event of each domain.
    return list(reversed(deque(dict.fromkeys(mine), maxlen=limit)))


def _event_line(one: DomainEvent) -> str:
    change = f"{one.way.value} as domid {one.domid}"
    return f"  {moment(one.at)}  {printable(one.name)} {change}: {printable(one.why)}"


def history_text(
    runs: Sequence[Run],
    moves: Mapping[int, Sequence[Transition]],
    style: Style,
) -> str:
    """Lay out runs, the newest first, with a line where the host booted between two."""
    parts: list[str] = []
    for number, one in enumerate(runs):
        if number and one.boot_id != runs[number - 1].boot_id:
            parts.append(style.paint("-- the host booted --", "quiet"))
        lines = [_header(one, style), *_results(one.results, style)]
        lines += [_move(transition) for transition in moves.get(one.id, ())]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _header(one: Run, style: Style) -> str:
    if one.ended is None:
        end = style.paint("has not ended: it still goes on, or was killed", "busy")
    elif one.exit is None:
        end = style.paint("was killed; a later run completed its record", "busy")
    else:
        end = f"to {one.ended.astimezone():%H:%M:%S}, exit {one.exit}"
    boot = printable(one.boot_id[:BOOT_ID_SHOWN])
    title = style.paint(f"run {one.id}  {one.direction.value}", "strong")
    return f"{title}  boot {boot}  {moment(one.started)} {end}"


def _results(results: Sequence[Result], style: Style) -> Iterable[str]:
    """Yield the good ones by outcome, then each that needs attention with its note."""
    good: dict[str, list[Result]] = {}
    for result in results:
        if result.good:
            good.setdefault(result.outcome.value, []).append(result)
    for outcome, members in good.items():
        colour = outcome_colour(members[0].outcome, good=True)
        yield from _ended(outcome, colour, ", ".join(_named(member) for member in members), style)
    for result in results:
        if not result.good:
            told = f"{_named(result)}: {printable(result.note)}"
            yield from _ended(result.outcome.value, "bad", told, style)


def _ended(outcome: str, colour: str, told: str, style: Style) -> Iterable[str]:
    first, *others = wrap(told, style.width - len(INDENT) if style.width else 0)
    yield f"    {style.paint(f'{outcome:<8}', colour)}  {first}"
    yield from (INDENT + other for other in others)


def _named(result: Result) -> str:
    took = f" ({duration(result.seconds)})" if result.seconds else ""
    return f"{printable(result.name)}{took}"


def _move(transition: Transition) -> str:
    domid = "-" if transition.domid is None else transition.domid
    arrow = f"{transition.before.value} -> {transition.after.value}"
    line = f"      {moment(transition.at)}  {printable(transition.name)} (domid {domid})  {arrow}"
    return f"{line}: {printable(transition.detail)}" if transition.detail else line


def _hold(past: PastHold) -> str:
    told = printable(past.hold.told)
    if past.released is None:
        return f"is {told}"
    return f"was {told}; {printable(past.released_by)} released it {moment(past.released)}"


def _nothing(name: str | None) -> str:
    return "no runs yet" if name is None else f"no run of {printable(name)} is in the journal"
