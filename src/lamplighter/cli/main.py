"""The command line: find the command, give it its context, turn its end into an exit status.

Only the module of the requested command is imported, so that ``status`` starts fast. The command
line is therefore parsed twice: once up to the command's name, once by that command's own parser.
The options that every command has are accepted on both sides of the name.

Every error that a command raises on purpose is a ``LamplighterError``; it becomes a message and a
hint on standard error (or, with ``--json``, a document on standard output) and the exit status of
its class. Any other exception is a defect of Lamplighter and keeps its traceback.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO, cast

from lamplighter import __version__
from lamplighter.cli.context import CONFIG_VARIABLE, DEFAULT_CONFIG, Context
from lamplighter.cli.output.logs import log_to, show_from
from lamplighter.errors import LamplighterError, OutputError, UsageError
from lamplighter.formats.suggest import did_you_mean
from lamplighter.model.run import SIGNALLED
from lamplighter.report.documents import error_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

#: Each command and the module that holds it, in the order of the help.
COMMANDS = {
    "up": "lamplighter.cli.up",
    "down": "lamplighter.cli.down",
    "status": "lamplighter.cli.status",
    "plan": "lamplighter.cli.plan",
    "explain": "lamplighter.cli.explain",
    "hold": "lamplighter.cli.hold",
    "release": "lamplighter.cli.release",
    "check": "lamplighter.cli.check",
    "history": "lamplighter.cli.history",
    "monitor": "lamplighter.cli.monitor",
    "host": "lamplighter.cli.host",
    "install": "lamplighter.cli.install",
    "demo": "lamplighter.cli.demo",
}

#: The commands that speak to this host alone, without TLS. OpenSSL would be a good part of their
#: start time, and of the monitor's memory: asyncio does without it, as in a Python built without.
WITHOUT_TLS = frozenset(
    ("status", "plan", "explain", "hold", "release", "check", "history", "monitor"),
)

INTERRUPTED = SIGNALLED + signal.SIGINT
PIPE_CLOSED = SIGNALLED + signal.SIGPIPE


class Command(Protocol):
    """The interface of a command's module."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def run(self, args: argparse.Namespace, context: Context) -> int:
        """Run the command; return the exit status."""


class Formatter(argparse.HelpFormatter):
    """Help as wide as the terminal, without the import of shutil that argparse would need."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 80
        super().__init__(prog, width=max(40, columns - 2))


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ``UsageError``s that name the nearest option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, "allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of leaving the process."""
        hint = f"{self.prog} --help shows the usage"
        if message.startswith("unrecognized arguments: "):
            given = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
            hint = did_you_mean(given, self._option_string_actions, hint)
        raise UsageError(message, hint=hint)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lamplighter`` with the process's own streams; return its exit status."""
    out, err = _own_stream(1, sys.stdout), _own_stream(2, sys.stderr)
    arguments = sys.argv[1:] if argv is None else argv
    try:
        status = execute(arguments, os.environ, out, err)
    except BrokenPipeError:
        status = PIPE_CLOSED
    # Everything is printed: a signal that comes now must not change how the command has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        out.flush()
    except OSError:
        # The interpreter, which flushes it again at the end, would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
        status = status or PIPE_CLOSED
    # The process ends: a last collection of all that was imported would gain nothing.
    gc.freeze()
    return status


def execute(
    argv: Sequence[str],
    environ: Mapping[str, str],
    out: TextIO,
    err: TextIO,
) -> int:
    """Run one command line against these streams and return its exit status.

    Raises ``BrokenPipeError`` when the reader of ``out`` has gone.
    """
    context = Context(
        DEFAULT_CONFIG, explicit=False, as_json=False, out=out, err=err, environ=environ
    )
    with log_to(err, environ):
        try:
            return _dispatch(argv, context)
        except LamplighterError as error:
            context.as_json = context.as_json or "--json" in argv
            report_error(error, context)
            return error.exit_status
        except SystemExit as end:
            # argparse printed a help text and has finished.
            return int(end.code or 0)
        except KeyboardInterrupt:
            # The command did nothing yet, or has done all.
            logger.warning("interrupted\n  lamplighter status shows the state of each domain")
            return INTERRUPTED


def report_error(error: LamplighterError, context: Context) -> None:
    """Report the error that ended the command: to a person, or as the command's document."""
    if context.as_json and not isinstance(error, OutputError):
        try:
            context.print_json(error_document(error))
        except OutputError as output_error:
            report_error(error, replace(context, as_json=False))
            report_error(output_error, context)
    else:
        logger.error("%s", error.full_message)


def _dispatch(argv: Sequence[str], context: Context) -> int:
    """Parse the command line up to the command's name, then with that command's own parser."""
    options = _global_options()
    front = Parser(
        prog="lamplighter",
        description="Brings the domains of a Xen host up with the host and down with it, cleanly.",
        parents=[options],
        add_help=False,
        usage="lamplighter [--config FILE] [--json] [-v | -q] COMMAND ...",
    )
    front.set_defaults(config=None, json=False, level=None)
    front.add_argument("-h", "--help", action="store_true", help="show this help and exit")
    front.add_argument("--version", action="store_true", help="show the version and exit")
    front.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    front.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    first = front.parse_args(argv)
    if first.help or first.command == "help":
        commands = "\n".join(f"  {name:<9} {_load(name).HELP}" for name in COMMANDS)
        context.print(f"{front.format_help()}\ncommands:\n{commands}")
        return 0
    if first.version:
        context.print(f"lamplighter {__version__}")
        return 0
    if first.command is None:
        raise UsageError(
            "no command is given", hint=f"one of {', '.join(COMMANDS)}; --help describes them"
        )
    if first.command not in COMMANDS:
        hint = did_you_mean(first.command, COMMANDS, f"the commands are {', '.join(COMMANDS)}")
        raise UsageError(f"unknown command {first.command!r}", hint=hint)
    command = _load(first.command)
    parser = Parser(
        prog=f"lamplighter {first.command}",
        description=command.HELP,
        parents=[options],
    )
    command.add_arguments(parser)
    given = argparse.Namespace(config=first.config, json=first.json, level=first.level)
    args = parser.parse_args(first.arguments, given)
    context.as_json = args.json
    if args.level is not None:
        show_from(args.level)
    if args.config == "":
        raise UsageError("--config requires a file name")
    if named := args.config or context.environ.get(CONFIG_VARIABLE):
        context.config_path, context.explicit = Path(named), True
    return command.run(args, context)


def _load(name: str) -> Command:
    if name in WITHOUT_TLS:
        cast("dict[str, object]", sys.modules).setdefault("ssl", None)
    return cast("Command", importlib.import_module(COMMANDS[name]))


def _global_options() -> Parser:
    """Return the options that every command takes, before its name or after it."""
    parent = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parent.add_argument(
        "--config",
        metavar="FILE",
        help=f"the configuration file (default: ${CONFIG_VARIABLE}, else {DEFAULT_CONFIG})",
    )
    parent.add_argument("--json", action="store_true", help="answer with one JSON document")
    parent.add_argument(
        "-v",
        "--verbose",
        dest="level",
        action="store_const",
        const=logging.DEBUG,
        help="also report each call of the toolstack and each connection to XenStore",
    )
    parent.add_argument(
        "-q",
        "--quiet",
        dest="level",
        action="store_const",
        const=logging.ERROR,
        help="report only errors",
    )
    return parent


def _own_stream(descriptor: int, stream: TextIO | None) -> TextIO:
    """Return a stream that can be written to, even if the process was started without it."""
    if stream is None:
        # It was closed. A file opened later must not get its descriptor and this output.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, descriptor)
        stream = os.fdopen(descriptor, "w")
    if isinstance(stream, io.TextIOWrapper):
        # A name that the locale cannot encode must not lose the rest of the answer.
        stream.reconfigure(errors="backslashreplace")
    return stream
