"""``lamplighter status``: the wanted state and the observed state of every domain.

If the host cannot be read, every domain that has a definition is ``unknown``, the error is
reported, and the exit status is the error's. The command takes no lock and waits for no run. A
running monitor is asked for the latest event of each domain; nothing depends on it. What the agent
in a guest reports is shown as such, and does not change the exit status.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lamplighter.cli.output.problems import log_unlisted_problems
from lamplighter.cli.output.text import counted, moment, printable, style_of, table
from lamplighter.engine.status import Seen, Wanted, status_rows
from lamplighter.formats.agent_protocol import describe_guest
from lamplighter.report.documents import error_document, status_document
from lamplighter.service.status import gather

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.engine.status import Row
    from lamplighter.model.problem import Problem

logger = logging.getLogger(__name__)

HELP = "show each domain's wanted and observed state, and why they differ"

HEADERS = ("DOMAIN", "DOMID", "WANTED", "SEEN", "SINCE", "WHY")

#: The column before the last one, if the agent of any guest reports something.
GUEST = "GUEST"

#: So many characters of what an agent reports are shown; --json has all of it.
AGENT_TEXT_MAX = 48

#: A domain that is absent although it is wanted up is "bad".
COLOURS = {
    Seen.ABSENT: "quiet",
    Seen.RUNNING: "good",
    Seen.BOOTING: "busy",
    Seen.PAUSED: "busy",
    Seen.SHUT_DOWN: "busy",
    Seen.DYING: "busy",
    Seen.UNKNOWN: "bad",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none, it always shows everything."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    configuration = context.configuration()
    snapshot = asyncio.run(gather(configuration))
    record = snapshot.record
    if record.errors:
        logger.error("%s", record.errors[0].full_message)
    rows = status_rows(snapshot.inventory, snapshot.view, record.last, record.intents)
    error, monitor, problems = snapshot.error, snapshot.monitor, snapshot.inventory.problems
    status = exit_status(rows, problems) if error is None else error.exit_status
    if context.as_json:
        document = status_document(rows, problems, monitor, status)
        if error is not None:
            document |= error_document(error)
        context.print_json(document)
        return status
    style = style_of(context.out, context.environ)
    context.print(status_text(rows, style, seen=error is None))
    if error is None:
        text = "No monitor is running: domain events between runs are not recorded."
        if monitor is not None:
            text = f"The monitor has been watching since {moment(monitor.since)}."
            if monitor.error:
                text = f"The monitor cannot list the domains: {printable(monitor.error)}"
        context.print(text)
    log_unlisted_problems(problems, {row.name for row in rows})
    if error is not None:
        logger.error("%s", error.full_message)
    return status


def exit_status(rows: Sequence[Row], problems: Sequence[Problem]) -> int:
    """Return 0 when all that is wanted up is running or booting and no problem is fatal; else 1."""
    up = (Seen.RUNNING, Seen.BOOTING)
    missing = any(row.wanted is Wanted.UP and row.seen not in up for row in rows)
    return int(missing or any(problem.fatal for problem in problems))


def status_text(rows: Sequence[Row], style: Style, *, seen: bool = True) -> str:
    """Lay out the rows and their counts; without ``seen`` it is not known what runs."""
    if not rows:
        return "no domain is defined and none runs" if seen else "no domain is defined"
    guests = any(row.guest is not None for row in rows)
    headers = (*HEADERS[:-1], GUEST, HEADERS[-1]) if guests else HEADERS
    cells: list[tuple[str, ...]] = []
    colours: list[dict[int, str]] = []
    for row in rows:
        domid = "-" if row.domid is None else str(row.domid)
        line = [row.name, domid, row.wanted.value, row.seen.value, moment(row.since)]
        if guests:
            text = describe_guest(row.guest) if row.guest is not None else ""
            cut = text if len(text) <= AGENT_TEXT_MAX else f"{text[:AGENT_TEXT_MAX]}..."
            line.append(cut)
        cells.append((*line, row.why))
        missing = row.seen is Seen.ABSENT and row.wanted is Wanted.UP
        colours.append({3: "bad" if missing else COLOURS[row.seen]})
    laid_out = table(headers, cells, style, colours=colours)
    running = sum(row.seen in (Seen.RUNNING, Seen.BOOTING, Seen.PAUSED) for row in rows)
    wanted = sum(row.wanted is Wanted.UP for row in rows)
    counts = f"{counted(len(rows), 'domain')}: {wanted} wanted up, {running} running"
    if any(row.seen is Seen.UNKNOWN for row in rows):
        counts = f"{counted(len(rows), 'domain')}: what runs could not be read"
    return f"{laid_out}\n\n{counts}."
