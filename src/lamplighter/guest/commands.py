"""The agent's short-lived commands: all of ``lamplighter-agent`` except ``run``.

The commands that a shutdown needs (``say``, ``more``, ``stopping``) also run on an incomplete
Python, such as Debian's ``python3-minimal``, so the installation modules are imported on demand.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from math import ceil
from typing import TYPE_CHECKING, NoReturn

from lamplighter.errors import LamplighterError, UsageError
from lamplighter.formats.agent_protocol import (
    GUEST_NODES,
    HOST_NODES,
    REQUESTS,
    SECONDS_MAX,
    Answer,
    TimeRequest,
    encode_more,
    encode_progress,
    parse_answer,
)
from lamplighter.formats.durations import parse_duration
from lamplighter.guest.clock import now
from lamplighter.guest.config import Paths
from lamplighter.guest.control_socket import HELLO, call
from lamplighter.guest.init_hook import stopping
from lamplighter.guest.log import Log
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus, read_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The width of a help text, in characters.
WIDTH = 78

#: Exit statuses of ``more``.
GRANTED, REFUSED, NOBODY = 0, 1, 3

#: Seconds to wait for the host's answer; it answers within two, if at all.
TIMEOUT = 15.0

#: The signals that end a command that waits.
ENDED_BY = (signal.SIGTERM, signal.SIGINT)

#: The guest's nodes and the host's, in the order in which ``status`` prints them.
NODES = (*GUEST_NODES, *HOST_NODES)

SHUTDOWN = "control/shutdown"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ``UsageError``s."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of exiting."""
        raise UsageError(f"{self.prog}: {message}", hint="see lamplighter-agent --help")


def parser_of(command: str) -> Parser:
    """Return the parser of one command's arguments."""
    # Without a width it would import shutil, which a minimal Python lacks.
    narrow = partial(argparse.HelpFormatter, width=WIDTH)
    parser = Parser(prog=f"lamplighter-agent {command}", formatter_class=narrow, allow_abbrev=False)
    if command in ("install", "uninstall"):
        parser.add_argument("--root", metavar="DIR", help="the tree of a system that does not run")
    else:
        for option in ("--xenstore", "--etc", "--run"):
            parser.add_argument(option, metavar="PATH", help="another place, for trials")
    if command == "install":
        parser.add_argument("--no-start", action="store_true", help="enable it only")
    elif command == "say":
        parser.add_argument("--percent", type=int, metavar="N", help="how far it has come")
        parser.add_argument("text", nargs="+", help="what is being done")
    elif command == "more":
        parser.add_argument("duration", help='so much more time, such as "90s" or "5min"')
        parser.add_argument("reason", nargs="*", help="why")
    elif command == "stopping":
        parser.add_argument("request", nargs="?", choices=REQUESTS, help="else systemd is asked")
    return parser


def run_command(command: str, arguments: Sequence[str]) -> int:
    """Run one of the commands; return its exit status."""
    try:
        args = parser_of(command).parse_args(arguments)
    except SystemExit as end:  # help was printed
        return int(end.code or 0)
    log = Log(marked="JOURNAL_STREAM" in os.environ)
    if command in ("install", "uninstall"):
        installing = import_module("lamplighter.guest.installation")
        if command == "uninstall":
            return int(installing.uninstall(args.root, log))
        start = not args.no_start
        return int(installing.install(args.root, start=start, itself=sys.argv[0], log=log))
    given = {"xenstore": args.xenstore, "etc": args.etc, "run": args.run}
    places = Paths(**{name: path for name, path in given.items() if path})
    if command == "say":
        return say(places, " ".join(args.text), args.percent)
    if command == "more":
        return more(places, args.duration, " ".join(args.reason), _print)
    if command == "stopping":
        return stopping(places, args.request, log)
    return status(places, _print)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say(places: Paths, text: str, percent: int | None) -> int:
    """Report to the host how far the guest's shutdown has come."""
    if percent is not None and not 0 <= percent <= 100:
        raise UsageError("--percent is a whole number from 0 to 100")
    Bus(places.xenstore).write(node("progress"), encode_progress(text, percent))
    return 0


def more(places: Paths, duration: str, reason: str, show: Callable[[str], None]) -> int:
    """Ask the host for more time and print its answer; return the exit status."""
    try:
        seconds = ceil(parse_duration(duration))
    except ValueError as error:
        raise UsageError(f"{duration!r}: {error}") from error
    if not 1 <= seconds <= SECONDS_MAX:
        raise UsageError(f"expected a duration from 1 s to {SECONDS_MAX} s, not {duration!r}")
    asked = TimeRequest(os.urandom(6).hex(), seconds, reason)
    request = encode_more(asked)
    answer: Answer | None = None
    for number in ENDED_BY:
        signal.signal(number, _end)
    try:
        bus = Bus(places.xenstore)
        bus.watch(node("answer"))
        bus.write(node("more"), request)
        until = now() + TIMEOUT
        while answer is None and bus.wait(until):
            found = parse_answer(bus.read(node("answer")))
            if found is not None and found.id == asked.id:
                answer = found
    finally:
        # The next stop would answer a request that is left, and the time it grants would be missing
        # where it is needed. So a command that is terminated while it waits, for example because
        # the script that started it reached its deadline, removes its request as well. The signal
        # may have interrupted a XenStore request, so the removal opens a new connection.
        if answer is None:
            for number in ENDED_BY:
                signal.signal(number, signal.SIG_IGN)
            with suppress(LamplighterError):
                Bus(places.xenstore).remove_if(node("more"), request)
    if answer is None:
        show(f"nobody answered within {TIMEOUT:g} s: no Lamplighter is stopping this domain")
        return NOBODY
    if answer.left is None:
        show(f"refused: {answer.why}")
        return REFUSED
    show(f"granted: {answer.left} s are left")
    return GRANTED


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def status(places: Paths, show: Callable[[str], None]) -> int:
    """Print the nodes' values and whether the daemon runs; return 1 if it does not."""
    version = call(places.control_socket, HELLO, patience=5.0)
    show(f"{'daemon':<17} {f'runs, version {version}' if version else 'does not run'}")
    bus = Bus(places.xenstore)
    for path, name in ((SHUTDOWN, SHUTDOWN), *((node(name), name) for name in NODES)):
        value = read_or_none(bus, path)
        text = value.decode("utf-8", "replace") if value is not None else "-"
        show(f"{name:<17} {''.join(c if c.isprintable() else '?' for c in text)}")
    return 0 if version else 1
