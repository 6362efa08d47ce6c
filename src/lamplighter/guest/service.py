"""``lamplighter-agent run``: the daemon, composed."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from lamplighter import __version__
from lamplighter.errors import LamplighterError
from lamplighter.guest.config import read_choices
from lamplighter.guest.control_socket import ControlSocket, listen
from lamplighter.guest.daemon import Daemon
from lamplighter.guest.log import Log
from lamplighter.guest.power import Power, Rehearsal
from lamplighter.guest.xenbus import find

if TYPE_CHECKING:
    from lamplighter.guest.places import Paths


def run_daemon(places: Paths) -> int:
    """Run the agent; return its exit status."""
    log = Log(marked="JOURNAL_STREAM" in os.environ)
    choices, problems = read_choices(places.configuration)
    for problem in problems:
        log.warn(problem)
    places = places._replace(xenstore=places.xenstore or find())
    power = Rehearsal(places.rehearse) if places.rehearse else Power()
    power.load()
    hotline = _open_hotline(places, log)
    # What was imported stays: looking through it again and again only takes time and memory.
    gc.collect()
    gc.freeze()
    return Daemon(places, choices, power, hotline, log).run()


def _open_hotline(places: Paths, log: Log) -> ControlSocket:
    """Return a hotline; one that nobody can call where there is no room for a socket."""
    try:
        os.makedirs(places.run, 0o700, exist_ok=True)
        return ControlSocket(listen(places.hotline), __version__)
    except FileExistsError as error:
        raise LamplighterError(f"{places.hotline}: {error.strerror}") from error
    except OSError as error:
        log.warn(f"{places.hotline}: {error.strerror}; the scripts are left to init's hook")
        return ControlSocket(None, __version__)
