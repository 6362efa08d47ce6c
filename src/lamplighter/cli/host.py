"""``lamplighter host``: the embedded host, a small Xen host in a process of its own.

It has one folder for configuration, definitions, state and sockets. ``start`` fills that folder if
it has no configuration yet. Besides the three actions in the help there is a fourth one, ``fault``,
which makes a running host misbehave, to try this software out.

    lamplighter host fault create fail [--times 3]      or hang, half, slow with --seconds 5
    lamplighter host fault clear
    lamplighter host fault xenstore --seconds 2         all clients lose their connections
    lamplighter host fault reaper 3                     nothing will reap domain 3
    lamplighter host fault busy --seconds 5             each listing and each reaping takes so long
    lamplighter host fault memory 100                   so many MiB are left; "all" gives them back
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamplighter.cli.output.text import counted
from lamplighter.embedded.examples import CONFIGURATION, write_example_host
from lamplighter.errors import ConfigurationError, UsageError
from lamplighter.host.files.reading import read_configuration
from lamplighter.service import embedded_process
from lamplighter.service.embedded_process import Place

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine
    from typing import TypeVar

    from lamplighter.cli.context import Context
    from lamplighter.embedded.host import EmbeddedHost

    T = TypeVar("T")

logger = logging.getLogger(__name__)

HELP = "start, stop or show the embedded host"

#: The default folder of an embedded host.
DEFAULT_FOLDER = "lamplighter-host"

#: How fast a host may run, as a multiple of real time.
SLOWEST, FASTEST = 0.1, 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("action", metavar="start|stop|status", help="what to do")
    parser.add_argument(
        "operands",
        metavar="DIR",
        nargs="*",
        default=[],
        help="the host's folder (default: that of the configuration, if it is for an embedded "
        f"host, else ./{DEFAULT_FOLDER})",
    )
    parser.add_argument(
        "--speed",
        metavar="N",
        type=float,
        default=1.0,
        help="start: N times as fast as real time",
    )
    parser.add_argument(
        "--foreground",
        action="store_true",
        help="start: stay in the foreground until stopped",
    )
    parser.add_argument("--times", type=int, default=1, help="fault: the number of calls")
    parser.add_argument("--seconds", type=float, default=1.0, help="fault: the duration")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    match args.action:
        case "fault":
            return _fault(args, context)
        case "start" | "stop" | "status" if len(args.operands) > 1:
            raise UsageError(f"{args.action} takes one folder, not {len(args.operands)}")
        case "start":
            return _start(args, context)
        case "stop":
            place = _place(args.operands, context)
            last = asyncio.run(embedded_process.stop(place))
            if context.as_json:
                host = None if last is None else _document(place, last)
                context.print_json({"host": host, "stopped": last is not None, "exit": 0})
            elif last is None:
                context.print(f"No embedded host runs in {place.folder}.")
            else:
                number = last.get("domains", 0)
                went = f"; {counted(number, 'running domain')} ended with it" if number else ""
                context.print(f"The embedded host in {place.folder} has stopped{went}.")
            return 0
        case "status":
            place = _place(args.operands, context)
            status = asyncio.run(embedded_process.status(place))
            if context.as_json:
                context.print_json({"host": _document(place, status), "exit": 0})
            else:
                context.print(_running_text(place, status))
                context.print(
                    f"It has {counted(status['domains'], 'domain')}, "
                    f"{status['free']} of {status['memory']} MiB are free."
                )
            return 0
    raise UsageError(
        f"unknown action {args.action!r}", hint="the actions are start, stop and status"
    )


# --- actions ---------------------------------------------------------------------------------


def _start(args: argparse.Namespace, context: Context) -> int:
    if not SLOWEST <= args.speed <= FASTEST:
        raise UsageError(f"--speed {args.speed:g}: expected {SLOWEST:g} to {FASTEST:g}")
    folder = _folder(args.operands, context)
    if not (folder / CONFIGURATION).exists():
        write_example_host(folder)
    place = _place([str(folder)], context)
    if args.foreground:

        def ready(host: EmbeddedHost) -> None:
            status = host.status()
            if context.as_json:
                context.print_json({"host": _document(place, status), "started": True, "exit": 0})
            else:
                context.print(_running_text(place, status))

        asyncio.run(embedded_process.serve(place, args.speed, ready))
        return 0
    status, started = asyncio.run(embedded_process.start(place, args.speed))
    if status["speed"] != args.speed and not started:
        logger.warning(
            "it is already running, at speed %g; stop it to change that", status["speed"]
        )
    if context.as_json:
        context.print_json({"host": _document(place, status), "started": started, "exit": 0})
    else:
        context.print(_running_text(place, status, "runs" if started else "runs already"))
        context.print(
            f"Type next:\n  export LAMPLIGHTER_CONFIG={shlex.quote(str(place.configuration))}"
        )
    return 0


def _fault(args: argparse.Namespace, context: Context) -> int:
    client = _place([], context).client()
    call: Coroutine[None, None, dict[str, Any]]
    match args.operands:
        case ["clear"]:
            call = client.call("clear-faults")
        case ["xenstore"]:
            call = client.call("restart-xenstore", seconds=args.seconds)
        case ["reaper", domid] if domid.isascii() and domid.isdigit():
            call = client.call("kill-reaper", domid=int(domid))
        case ["busy"]:
            call = client.call("busy", listing=args.seconds, reaping=args.seconds)
        case ["memory", "all"]:
            call = client.call("memory")
        case ["memory", free] if free.isascii() and free.isdigit():
            call = client.call("memory", free=int(free))
        case [of, how]:
            call = client.call("fault", of=of, how=how, times=args.times, seconds=args.seconds)
        case _:
            raise UsageError(
                "unknown fault",
                hint="CALL fail|hang|slow, clear, xenstore, busy, reaper DOMID, or memory MIB|all",
            )
    asyncio.run(call)
    if context.as_json:
        context.print_json({"exit": 0})
    return 0


# --- where -----------------------------------------------------------------------------------


def _folder(operands: list[str], context: Context) -> Path:
    """Return the folder that was given, or that of the configuration, or the default one."""
    if operands:
        return Path(operands[0]).absolute()
    if context.explicit and context.configuration().host.toolstack.value == "embedded":
        return context.config_path.absolute().parent
    return Path(DEFAULT_FOLDER).absolute()


def _place(operands: list[str], context: Context) -> Place:
    """Return the host's place; its configuration must be one of an embedded host."""
    folder = _folder(operands, context)
    path = folder / CONFIGURATION if operands or not context.explicit else context.config_path
    if not path.exists():
        raise ConfigurationError(
            "there is no embedded host here",
            where=str(folder),
            hint="lamplighter host start creates one",
        )
    settings = read_configuration(path, required=True).host
    if settings.toolstack.value != "embedded":
        raise ConfigurationError(
            f'toolstack is "{settings.toolstack.value}", expected "embedded"',
            where=str(settings.toolstack.origin),
            hint="name the folder of an embedded host",
        )
    return Place(folder, path.absolute(), Path(settings.run.value))


def _running_text(place: Place, status: dict[str, Any], verb: str = "runs") -> str:
    boot = f"boot {status['boot_id']}, speed {status['speed']:g}, since {status['since']}"
    return f"The embedded host in {place.folder} {verb}: {boot}."


def _document(place: Place, status: dict[str, Any]) -> dict[str, Any]:
    where = {"folder": str(place.folder), "configuration": str(place.configuration)}
    return {**where, **status}
