"""The monitor: records which domains start and stop, by whom and why, and serves what it knows.

It decides nothing, so it may be killed, stopped, restarted or absent at any moment. What it saw is
in the event log, so the next monitor goes on where this one ended; what happened between the two is
reported as unseen.

Between two events it does nothing at all: it is woken by XenStore's watches and by clients that
connect. The one timer is systemd's watchdog. Each of its ticks has the domains listed, which finds
what no watch has reported, and systemd is notified only if there was a listing since the tick
before.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine.domain_events import REMEMBERED, Evidence, IncarnationTracker
from lamplighter.errors import JournalError, ToolstackUnreachable
from lamplighter.host.event_log import EventLog, read_event_log
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.lock import read_holder
from lamplighter.host.monitor_socket import MonitorSocket
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.domain import DomainInfo
from lamplighter.model.domain_event import Moment, MonitorState
from lamplighter.model.run import Direction
from lamplighter.service.guests.shutdown_requests import ShutdownRequests
from lamplighter.service.managed_host import connect_host, shutdown_reason
from lamplighter.service.observer import Observer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Listing
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.policy import Configuration, HostSettings
    from lamplighter.service.managed_host import HostConnection

logger = logging.getLogger(__name__)


class Monitor:
    """Watches one host. It is a ``Viewer`` of its own observer."""

    def __init__(self, connection: HostConnection, settings: HostSettings) -> None:
        self._host = connection
        self._state = Path(settings.state.value)
        self._run = Path(settings.run.value)
        self._since = connection.clock.wall()
        self._listed_at: datetime | None = None
        self._error = ""
        self._gap = True  # since the last listing something may have happened unseen
        self._listing: Listing | None = None
        self._gap_before_listing = True
        self._news = asyncio.Event()
        self._event_log = EventLog(self._state)
        past: list[DomainEvent] = []
        try:
            past = [one for one in read_event_log(self._state) if one.boot_id == connection.boot_id]
        except JournalError as error:
            logger.error("%s", error)
        self._incarnations = IncarnationTracker(past)
        self._unwritten: tuple[DomainEvent, ...] = ()
        self._requests = ShutdownRequests(connection.xenstore, connection.clock, self._we_stop)
        self._reconnected = False
        self._notifier = Notifier()
        self._shown = ""
        self.observer = Observer(
            connection.toolstack, connection.xenstore, connection.clock, interval=None
        )
        self.listings = 0  # failed ones, too
        self.listed_once = asyncio.Event()

    # --- the observer's viewer ---

    def listed(self, listing: Listing) -> None:
        """There is a new listing."""
        self._seen()
        self._listing, self._error = listing, ""
        self._gap_before_listing |= self._gap
        self._gap = False
        self._news.set()

    def listing_failed(self, number: int, error: str) -> None:
        """A listing failed: what happens until the next one may go unseen."""
        self._seen()
        self._gap = True
        if self._error != error:
            self._error = error
            logger.error("%s", self.summary)
            self._show()

    def reset(self, believes_from: int) -> None:
        """The monitor changes no domain, so no listing is too old."""

    async def watch(self, notifier: Notifier, watchdog: float | None = None) -> None:
        """Watch until the task is cancelled; raise ``Unreachable`` when the host has booted again.

        ``watchdog``: the service manager's watchdog time in seconds; None: it has none.
        """
        self._notifier = notifier
        self._host.xenstore.on_connection(self._connection)
        self.observer.subscribe(self)
        works = [
            asyncio.ensure_future(work)
            for work in (
                self.observer.watch(),
                self._requests.listen(),
                self._record_listings(),
                _notify_systemd(self, notifier, watchdog),
            )
        ]
        try:
            await asyncio.gather(*works)
        finally:
            notifier.send(stopping=True)
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    def watched(self) -> MonitorState:
        """Return what is served: the last event of each domain that has one in this boot."""
        last = tuple(self._incarnations.last.values())
        return MonitorState(self._host.boot_id, self._since, self._listed_at, self._error, last)

    @property
    def clock(self) -> Clock:
        """The host's clock."""
        return self._host.clock

    @property
    def summary(self) -> str:
        """One line for ``systemctl status``."""
        if self._error:
            return f"the domains cannot be listed: {self._error}"
        count = len(self._incarnations.present)
        return f"watching {count} domain{'' if count == 1 else 's'}"

    def _seen(self) -> None:
        self.listings += 1
        self.listed_once.set()

    def _show(self) -> None:
        """Keep the status text in systemd up to date."""
        if self._shown != (text := self.summary):
            self._shown = text
            self._notifier.send(status=text)

    def _connection(self, connected: bool) -> None:
        self._gap = True
        if connected:
            self._reconnected = True
        else:
            self._requests.connection_lost()
            logger.warning("the connection to XenStore is lost")

    async def _record_listings(self) -> None:
        """Record what each new listing shows to have changed."""
        boot_id = self._host.boot_id
        while True:
            await self._news.wait()
            self._news.clear()
            if self._listing is None:
                continue
            if self._reconnected:
                self._reconnected = False
                # Domids start again with each boot, so what is known by them is worthless.
                if await self._host.has_rebooted():
                    raise ToolstackUnreachable(
                        "the host has booted again since the monitor started",
                        hint="start the monitor again",
                    )
            domains = self._listing.domains
            gapless, self._gap_before_listing = not self._gap_before_listing, False
            missing = self._incarnations.missing(domains)
            if missing or self._incarnations.changed(domains):
                ends = {
                    one.domid: await shutdown_reason(
                        self._host, DomainInfo(one.domid, one.uuid, one.name)
                    )
                    for one in missing
                }
                present, asked = self._incarnations.present, self._requests.asked
                doubtful = present if self._we_stop() else self._requests.doubtful
                try:
                    with closing(JournalReader(self._state)) as reader:
                        records, moves = reader.last_records(boot_id), reader.moves(boot_id)
                except JournalError as error:
                    logger.error("what runs have recorded is not known: %s", error)
                    records, moves = {}, {}
                evidence = Evidence(records, moves, asked, ends, frozenset(doubtful), gapless)
                moment = Moment(self._host.clock.wall(), boot_id)
                self._keep(self._incarnations.compare(domains, evidence, moment))
            elif self._unwritten:
                self._keep(())
            self._show()
            self._requests.attend(self._incarnations.present.keys())
            self._listed_at = self._host.clock.wall()

    def _we_stop(self) -> bool:
        """Return whether a run of Lamplighter is stopping domains now."""
        holder = read_holder(self._run)
        return holder is not None and holder.command == Direction.DOWN.value

    def _keep(self, domain_events: Sequence[DomainEvent]) -> None:
        """Write events, then report them: a monitor killed in between must not lose one reported.

        What cannot be written now is written with the next events, or after the next listing.
        """
        self._unwritten = (*self._unwritten, *domain_events)[-REMEMBERED:]
        try:
            self._event_log.write(self._unwritten, self._incarnations.last.values())
            self._unwritten = ()
        except JournalError as error:
            logger.error("%s", error)
        for one in domain_events:
            logger.info("%s (domid %d) %s: %s", one.name, one.domid, one.way.value, one.why)


@asynccontextmanager
async def open_monitor(configuration: Configuration) -> AsyncIterator[Monitor]:
    """Connect to the host, and serve the monitor's socket for the length of the block.

    Raises ``Unreachable`` when the host cannot be seen, ``ConfigurationError`` for a wrong folder.
    """
    settings = configuration.host
    async with connect_host(configuration) as connection:
        monitor = Monitor(connection, settings)
        socket = MonitorSocket(Path(settings.run.value), monitor.watched)
        await socket.open()
        try:
            yield monitor
        finally:
            socket.close()


async def _notify_systemd(monitor: Monitor, notifier: Notifier, seconds: float | None) -> None:
    """Notify systemd after the first listing, and then its watchdog while listings are made.

    ``seconds`` is the watchdog's time; it is notified twice in it. Without a watchdog there is no
    tick, and this ends.
    """
    await monitor.listed_once.wait()
    notifier.send(ready=True, status=monitor.summary)
    listings = 0
    while seconds is not None:
        if monitor.listings > listings:
            notifier.send(watchdog=True, status=monitor.summary)
        listings = monitor.listings
        monitor.observer.relist()
        await monitor.clock.sleep(seconds / 2)
