"""Finds out why systemd runs a command of the unit: to move domains, or for the unit alone.

A *restart* of the unit, as an upgrade or needrestart makes it, is about the unit alone. systemd
runs ``ExecStop=`` and then ``ExecStart=`` for it, as for a stop and a start, but it is one job: of
type ``restart`` while the unit stops, and with the same number of type ``start`` afterwards.

- The stop half asks for the unit's job. A restart moves no domain, and leaves the job's number in a
  marker in the run directory. When systemd cannot be asked, or the host stops as well, it is a
  stop: a host's stop must never be taken for a restart, and a stop too many is made good by the
  start that follows. systemd does not answer for a moment while it re-executes itself, as its own
  upgrade makes it do just when other services are restarted; so it is asked again.
- The start half starts nothing when the marker has the number of its own job. Without a marker, as
  after a boot, systemd is not even asked; with one and no answer, it is a start: a domain too many
  is noticed and stopped again, but a host without its domains is not. The marker is removed as it
  is read.

For a *stop that comes while the unit still starts* systemd runs no ``ExecStop=``: ``up`` is sent
SIGTERM, and ``ExecStopPost=`` is run, as it is after every stop and every failure. So that command
stops the domains that nothing else has stopped. It does nothing

- when a marker, written when the stop was complete, has this invocation of the unit;
- in a restart. When that has interrupted a start, no marker makes the start half idle, so that the
  start goes on. When it has come while the unit was being reloaded, for which systemd leaves out
  ``ExecStop=`` as well, the marker is left here;
- when the unit has no job, because then it failed by itself, such as by a start that hung, and no
  failure moves domains.

What remains is the time between the last question and the start half. A host's stop that begins
then finds a unit that is not active, and systemd runs no command of it. It is a few milliseconds
long when the unit is restarted alone. When a unit that it is ordered after is restarted with it,
such as libvirtd.service, the start half waits for that unit's start. Nothing in the unit can close
this gap: only an active unit is stopped, and a restart has to deactivate it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.errors import CallFailed
from lamplighter.formats.state_json import get_number, get_text, parse
from lamplighter.host.files.writing import write_whole
from lamplighter.host.machine import boot_id
from lamplighter.host.systemd.systemctl import list_jobs
from lamplighter.host.systemd.units import SERVICE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamplighter.host.systemd.systemctl import Job
    from lamplighter.model.clock import Clock

    Jobs = Mapping[str, Job]

logger = logging.getLogger(__name__)

#: The marker inside the run directory.
FILE_NAME = "unit.json"

#: The unit that every stop of the host starts.
SHUTDOWN = "shutdown.target"

#: The exit statuses of a start that was not interrupted.
STARTED = frozenset({"0", "1", "69", "75", "78"})

#: How often systemd is asked before it is taken not to answer, and the real seconds in between: to
#: re-execute itself, it reads all units again.
ATTEMPTS = 10
PAUSE = 1.0

#: More bytes than are ever written; the rest of a strange file is not read.
_LIMIT = 4096

_RESTART, _STOPPED = "restart", "stopped"

RESTARTING = "the unit is being restarted, which moves no domain"
RESTARTED = "the unit was restarted, which moved no domain"


class RestartMarker(NamedTuple):
    """What one command of the unit leaves for the next one."""

    how: str
    boot_id: str
    invocation: str  # systemd's name for the time from one start of the unit to its next
    job: int


class UnitJob:
    """Why systemd has run this command.

    ``start``, ``stop`` and ``after_stop`` return why no domain is to be moved; None when domains
    are.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str], clock: Clock) -> None:
        """``clock`` is real."""
        self._clock = clock
        self._path = directory / FILE_NAME
        self._invocation = environ.get("INVOCATION_ID", "")
        self._result = environ.get("SERVICE_RESULT", "")
        self._ended = environ.get("EXIT_STATUS", "")  # of the unit's start

    async def start(self) -> str | None:
        """Decide for ``ExecStart=``."""
        marker = self._read()
        with suppress(OSError):
            self._path.unlink()
        if marker is None or marker.how != _RESTART:
            return None
        jobs = await self._jobs()
        job = jobs.get(SERVICE) if jobs is not None else None
        return RESTARTED if job is not None and job == (marker.job, "start") else None

    async def stop(self) -> str | None:
        """Decide for ``ExecStop=``."""
        jobs = await self._jobs()
        if jobs is None or _host_stops(jobs):
            return None
        job = jobs.get(SERVICE)
        if job is None or job.kind != "restart":
            return None
        self._write(_RESTART, job.number)
        return RESTARTING

    async def after_stop(self) -> str | None:
        """Decide for ``ExecStopPost=``."""
        marker = self._read()
        if marker is not None and marker.invocation != self._invocation:
            marker = None
        how = marker.how if marker is not None else None
        if how == _STOPPED:
            return "the unit's stop has been carried out"
        jobs = await self._jobs()
        if jobs is None:
            if how == _RESTART:
                return RESTARTING
            return None if self._result == "success" else "the unit failed, which moves no domain"
        if _host_stops(jobs):
            return None
        job = jobs.get(SERVICE)
        if job is not None and job.kind == "restart":
            if self._ended in STARTED:
                self._write(_RESTART, job.number)
            return RESTARTING
        if job is None or job.kind != "stop":
            return "the unit failed by itself, which moves no domain"
        return None

    def stopped(self) -> None:
        """The stop is complete: write that into the marker."""
        self._write(_STOPPED, 0)

    async def _jobs(self) -> Jobs | None:
        message = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._clock.sleep(PAUSE)
            try:
                return await asyncio.to_thread(list_jobs, SERVICE, SHUTDOWN)
            except CallFailed as error:
                message = error.message
        logger.error("what systemd is about to do is not known: %s", message)
        return None

    def _read(self) -> RestartMarker | None:
        try:
            with self._path.open("rb") as file:
                document = parse(file.read(_LIMIT))
            marker = RestartMarker(
                how=get_text(document, "how"),
                boot_id=get_text(document, "boot_id"),
                invocation=get_text(document, "invocation"),
                job=get_number(document, "job"),
            )
        except (OSError, ValueError):
            return None
        return marker if marker.boot_id == boot_id() else None

    def _write(self, how: str, job: int) -> None:
        if not self._invocation:
            return  # without it, it could not be seen later that this is the same start and stop
        marker = RestartMarker(how, boot_id(), self._invocation, job)
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(marker._asdict()).encode(), 0o600)
        except OSError as error:
            logger.error("%s cannot be written: %s", self._path, error.strerror)


def _host_stops(jobs: Jobs) -> bool:
    return SHUTDOWN in jobs and jobs[SHUTDOWN].kind == "start"
