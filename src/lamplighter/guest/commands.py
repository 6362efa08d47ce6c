"""The commands that are there for moments, with their options.

What a shutdown needs (``say``, ``more``, ``stopping``) also runs on a Python that is not whole,
such as Debian's ``python3-minimal``; so what installs is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from lamplighter.errors import UsageError
from lamplighter.formats.agent_protocol import REQUESTS
from lamplighter.guest.init_hook import stopping
from lamplighter.guest.log import Log
from lamplighter.guest.places import Paths
from lamplighter.guest.telling import more, say, status

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of a help text, in characters.
WIDTH = 78


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ``UsageError``s."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of leaving the process."""
        raise UsageError(f"{self.prog}: {message}", hint="lamplighter-agent --help tells more")


def parser_of(command: str) -> Parser:
    """Return the parser of one command's own words."""
    # Without a width it would ask shutil, which a minimal Python lacks.
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
    """Run one of them; return its exit status."""
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
    told = {"xenstore": args.xenstore, "etc": args.etc, "run": args.run}
    places = Paths(**{name: path for name, path in told.items() if path})
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
