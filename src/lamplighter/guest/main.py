"""The command line of ``lamplighter-agent``.

``run`` stays resident, so it does without argparse and imports only what it needs; the other
commands are short-lived.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lamplighter import __version__
from lamplighter.errors import LamplighterError, UsageError
from lamplighter.guest.config import Paths
from lamplighter.guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = """\
usage: lamplighter-agent COMMAND ...

Reports the state of this Xen domain to its host, and makes sure that a shutdown ends.

  run                       run the agent; started by init
  say [--percent N] TEXT    report to the host how far a shutdown has come
  more DURATION [REASON]    ask the host for more time; exit 0: granted, 1: refused, 3: no answer
  status                    show the nodes of guest and host, and whether the agent runs
  stopping [REQUEST]        for init: run the scripts, return when they have ended
  install [--root DIR] [--no-start]
  uninstall [--root DIR]
  --version, --help

For trials, 'run' and the commands that use XenStore accept other paths:
  --xenstore PATH  --etc DIR  --run DIR  and, with 'run', --rehearse FILE

See lamplighter-agent(8).
"""

#: The options that name places, each with the field of ``Paths`` that it fills.
PLACES = {"--xenstore": "xenstore", "--etc": "etc", "--run": "run", "--rehearse": "rehearsal_file"}

COMMANDS = ("run", "say", "more", "status", "stopping", "install", "uninstall")


def main(arguments: Sequence[str]) -> int:
    """Run one command line and log its error, if any; return the exit status."""
    try:
        return execute(arguments)
    except LamplighterError as error:
        Log(marked=False).warn(str(error))
        return error.exit_status
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit status, or raise ``LamplighterError``."""
    command, *rest = arguments or ("",)
    if command in ("--help", "-h", "help") or (command == "run" and {"--help", "-h"} & set(rest)):
        _print(HELP.rstrip("\n"))
    elif command == "--version":
        _print(f"lamplighter-agent {__version__}")
    elif command == "run":
        return int(import_module("lamplighter.guest.daemon").run_daemon(parse_places(rest)))
    elif command in COMMANDS:
        return int(import_module("lamplighter.guest.commands").run_command(command, rest))
    else:
        wrong = f"there is no command {command!r}" if command else "no command is given"
        raise UsageError(wrong, hint=f"there are {', '.join(COMMANDS)}; see --help")
    return 0


def parse_places(arguments: Sequence[str]) -> Paths:
    """Return the paths in the options of ``run``: ``--etc DIR`` or ``--etc=DIR``."""
    found: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        option, equals, value = waiting.pop(0).partition("=")
        if option not in PLACES:
            raise UsageError(f"run has no option {option!r}", hint=f"it has {', '.join(PLACES)}")
        if not equals:
            value = waiting.pop(0) if waiting else ""
        if not value:
            raise UsageError(f"{option} needs a path")
        found[PLACES[option]] = os.path.abspath(value)
    return Paths(**found)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
