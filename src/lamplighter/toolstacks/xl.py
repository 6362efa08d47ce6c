"""The toolstack driver for ``xl``: every call runs a program with a deadline.

A listing is a single ``xl list -v``; ``xl list -l`` is not used, because it waits for the locks of
domains that are being created, or leaves those domains out. A thousand domains may have to be
destroyed at the same moment, and the control domain does not have the memory for that many
programs, so the number that run at once is limited (``AT_ONCE``).

``xl create`` leaves a process running for each domain, which destroys the domain after its shutdown
and creates it again after a reboot. Under systemd that process is put into its own scope, ordered
before our service, so that it is stopped after the service. The process also logs that it waits,
its PID, and the domain's shutdown reason. For a domain that was destroyed between two listings
this log is the only record of how it ended.

An ``xl create`` that was killed leaves a half built domain, paused for ever. libxl saves a
domain's configuration once its creation has succeeded and before it is first unpaused, for any
toolstack that uses libxl (``domcreate_complete`` in libxl_create.c). So a domain that never ran,
that has no such record, and that no process may be creating will never run. The record of the
control domain, made at boot, confirms that the records are where we look for them.
"""

from __future__ import annotations

import asyncio
import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.errors import CallFailed, CallNotStarted, ToolstackUnreachable
from lamplighter.formats import xl_output
from lamplighter.host import machine, programs
from lamplighter.host.machine import booted_at
from lamplighter.host.systemd import scopes
from lamplighter.host.systemd.units import SERVICE
from lamplighter.toolstacks.base import Boot, ByHand, logged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from lamplighter.host.programs import Completed
    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Definition, DomainInfo, ShutdownReason
    from lamplighter.model.policy import HostSettings
    from lamplighter.toolstacks.base import Toolstack

#: Where xenstored listens.
XENSTORE_SOCKET = "/run/xenstored/socket"

#: Where xl's processes write their logs.
LOGS = Path("/var/log/xen")

#: Where libxl saves the configuration of each domain.
RECORDS = Path("/var/lib/xen")

#: Exists when systemd is the init.
SYSTEMD = Path("/run/systemd/system")

#: The socket on which systemd listens for root.
SYSTEMD_SOCKET = Path("/run/systemd/private")

CONTROL_DOMAIN = UUID(int=0)

#: How many programs that act on running domains may run at the same time.
AT_ONCE = 16

#: How much of the end of a log is read, in bytes.
TAIL = 1 << 16


def open_toolstack(settings: HostSettings, clock: Clock) -> Toolstack:
    """Return the toolstack of a Xen host that ``xl`` manages."""
    return XlToolstack(clock, call_timeout=settings.call_timeout.value)


class XlToolstack:
    """Implements ``toolstacks.base.Toolstack`` with the ``xl`` found in ``path``."""

    def __init__(
        self,
        clock: Clock,
        *,
        call_timeout: float,
        path: str = machine.PATH,
        logs: Path = LOGS,
        records: Path = RECORDS,
        systemd: Path = SYSTEMD,
        systemd_socket: Path = SYSTEMD_SOCKET,
    ) -> None:
        """``call_timeout`` bounds each call, in seconds of ``clock``."""
        self._clock = clock
        self._call_timeout = call_timeout
        self._path = path
        self._logs = logs
        self._records = records
        self._systemd = systemd
        self._systemd_socket = systemd_socket
        self._acting = asyncio.Semaphore(AT_ONCE)

    @property
    def by_hand(self) -> ByHand:
        """Xl's own commands."""
        return ByHand("xl console", "xl unpause")

    async def boot(self) -> Boot:
        """The boot of the control domain."""
        return Boot(machine.boot_id())

    @property
    def xenstore_path(self) -> str:
        """The socket of the host's xenstored."""
        return XENSTORE_SOCKET

    async def list(self) -> list[DomainInfo]:
        """Every domain of the hypervisor, including dom0, ordered by domid."""
        ended = await self._xl("list", "-v")
        _check(ended, "xl list")
        return xl_output.parse_listing(ended.stdout)

    async def create(self, definition: Definition, *, ending: asyncio.Event | None = None) -> None:
        """Create and start the domain from its file; ``ending`` ends the wait for its scope."""
        prepare = None
        if self._systemd.is_dir():
            # The name has to be safe within a unit's name.
            name = "".join(c if c.isascii() and c.isalnum() else "_" for c in definition.name)
            prepare = partial(self._place, name[:100], ending or asyncio.Event())
        _check(await self._xl("create", "-q", definition.path, prepare=prepare), "xl create")

    async def _place(self, name: str, ending: asyncio.Event, pid: int) -> None:
        """Put the process that becomes ``xl create`` into a scope.

        When the host stops, systemd stops units in the reverse of their start order, so a scope
        ordered *before* the service is stopped after it. For the same reason systemd does not start
        such a scope while it stops the service. If that stop waits for the run that asks for the
        scope, the two would deadlock, so a run that is asked to end does not wait for its scope.
        """
        scope = scopes.Scope(
            f"lamplighter-domain-{name}",
            f"Domain {name}, what xl leaves behind for it",
            before=SERVICE,
        )
        # Less than the whole call may take, so that the error names systemd, not xl.
        seconds = self._call_timeout / 2
        making = asyncio.ensure_future(
            scopes.make_scope(scope, pid, self._clock, seconds, socket=self._systemd_socket)
        )
        ended = asyncio.ensure_future(ending.wait())
        try:
            await asyncio.wait((making, ended), return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                raise CallNotStarted("xl create was not started: the run was asked to end")
            making.result()
        finally:
            for waiting in (making, ended):
                waiting.cancel()
            await asyncio.gather(making, ended, return_exceptions=True)

    async def being_created(self, definitions: Iterable[Definition]) -> frozenset[str]:
        """The keys of those definitions whose ``xl create`` process is alive.

        The same process creates a domain, waits for its end and creates it again after a reboot. So
        while it is alive and the domain is not listed, either the domain is about to be created or
        the process is about to end.
        """
        paths = {path for argv in programs.command_lines() for path in xl_output.created_from(argv)}
        return frozenset(one.key for one in definitions if one.path in paths)

    async def half_built(self, info: DomainInfo, definition: Definition) -> bool:
        """Whether this domain is half built and nothing is creating it any more.

        The processes are checked before the record: a process that ends in between has written its
        record by then. The listing is checked last: a domain that was fully created, ran and ended
        since ``info`` has no process and no record left either.
        """
        if any(xl_output.may_create(argv, definition.path) for argv in programs.command_lines()):
            return False
        if not self._recorded(0, CONTROL_DOMAIN) or self._recorded(info.domid, info.uuid):
            return False
        return any(
            seen.never_ran and (seen.domid, seen.uuid) == (info.domid, info.uuid)
            for seen in await self.list()
        )

    async def destroy(self, domid: int) -> None:
        """Destroy this incarnation at once; it is not an error if it is already gone."""
        async with self._acting:
            ended = await self._xl("destroy", str(domid))
        if not xl_output.is_no_domain(ended.stderr):
            _check(ended, "xl destroy")

    async def press_power(self, domid: int) -> None:
        """Press the ACPI power button of an HVM domain."""
        async with self._acting:
            ended = await self._xl("trigger", str(domid), "power")
        _check(ended, "xl trigger")
        if "error" in ended.stderr:  # although it exits with 0
            raise CallFailed(f"xl trigger: {xl_output.error_message(ended.stderr)}")

    async def shutdown_reason(self, info: DomainInfo) -> ShutdownReason | None:
        """The shutdown reason of an incarnation that is gone, if its xl process logged it."""
        for log in self._logs_of(info):
            reason = xl_output.parse_shutdown_reason(log, info.domid)
            if reason is not None:
                return reason
        return None

    async def reaper_lives(self, info: DomainInfo) -> bool:
        """Whether the xl process that waits for this incarnation's end is alive."""
        pids = (xl_output.reaper_pid(log, info.domid) for log in self._logs_of(info))
        return any(pid is not None and programs.executes(pid, "xl") for pid in pids)

    async def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _logs_of(self, info: DomainInfo) -> Iterator[str]:
        """Yield the ends of xl's logs for domains of this name, the newest log first.

        A log that was not written to since the host booted is left out: domids start over with each
        boot, so it may be about another domain.
        """
        if not info.name or "/" in info.name:
            return
        for name in (f"xl-{info.name}.log", f"xl-{info.name}.log.1"):
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                descriptor = os.open(self._logs / name, flags)
                with os.fdopen(descriptor, "rb") as file:
                    status = os.fstat(descriptor)
                    if not stat.S_ISREG(status.st_mode) or status.st_mtime < booted_at():
                        continue
                    file.seek(max(0, status.st_size - TAIL))
                    end = file.read(TAIL)
            except OSError:
                continue
            yield end.decode("utf-8", "replace")

    def _recorded(self, domid: int, uuid: UUID) -> bool:
        return os.path.lexists(self._records / f"userdata-d.{domid}.{uuid}.libxl-json")

    # --- calls ---

    def _program(self, name: str) -> str:
        found = machine.find_program(name, self._path)
        if found is None:
            raise ToolstackUnreachable(
                f"{name} is not in {self._path}",
                hint="install Xen's tools, or set toolstack in [host]",
            )
        return str(found)

    async def _xl(
        self, *arguments: str, prepare: Callable[[int], Awaitable[None]] | None = None
    ) -> Completed:
        argv = (self._program("xl"), *arguments)
        with logged(" ".join(("xl", *arguments)), self._clock):
            return await programs.run(argv, self._clock, self._call_timeout, prepare)


def _check(ended: Completed, call: str) -> None:
    """Raise the error that matches how a call ended, if it failed."""
    if ended.status == 0:
        return
    if ended.status < 0:
        raise CallFailed(f"{call} was ended by signal {-ended.status}")
    if xl_output.is_no_hypervisor(ended.stderr):
        raise ToolstackUnreachable(
            f"{call}: {xl_output.error_message(ended.stderr)}",
            hint="is this the control domain of a Xen host, and are you root?",
        )
    raise CallFailed(
        f"{call}: {xl_output.error_message(ended.stderr)} (exit status {ended.status})"
    )
