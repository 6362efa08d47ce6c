"""The monitor: looks on, writes down who comes and goes and why, and serves it. It decides nothing.

It may be killed, stopped, restarted or absent at any moment. What came is in the logbook, so the
next monitor goes on where this one ended; what happened between the two is told as unseen.

Between two events it does nothing at all: XenStore's watches wake it, and the connection of a
client. The one timer is systemd's watchdog. Each of its ticks has a listing made, which finds what
no watch has told, and systemd hears only of a monitor that has looked since the tick before.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.engine.domain_events import REMEMBERED, Evidence, IncarnationTracker
from lamplighter.errors import CallFailed, JournalError, ToolstackUnreachable, Unreachable
from lamplighter.host.event_log import EventLog, read_event_log
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.lock import read_holder
from lamplighter.host.monitor_socket import MonitorSocket
from lamplighter.host.systemd.notify import Notifier
from lamplighter.model.domain import DomainInfo
from lamplighter.model.domain_event import Moment, MonitorState
from lamplighter.model.run import Direction
from lamplighter.service.guests.shutdown_requests import ShutdownRequests
from lamplighter.service.managed_host import connect_host
from lamplighter.service.observer import Observer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from lamplighter.model.clock import Clock
    from lamplighter.model.domain import Listing, ShutdownReason
    from lamplighter.model.domain_event import DomainEvent
    from lamplighter.model.policy import Configuration, HostSettings
    from lamplighter.model.run import LastRecord, Transition
    from lamplighter.service.managed_host import HostConnection


class Monitor:
    """Looks at one host. It is a ``Viewer`` of its own observer."""

    def __init__(
        self, connection: HostConnection, settings: HostSettings, tell: Callable[[str], None]
    ) -> None:
        """``tell`` is told each passage and each trouble."""
        self._host = connection
        self._state = Path(settings.state.value)
        self._run = Path(settings.run.value)
        self._tell = tell
        self._since = connection.clock.wall()
        self._listed_at: datetime | None = None
        self._error = ""
        self._gap = True  # since the last listing something may have happened unseen
        self._listing: Listing | None = None
        self._gap_before_picture = True
        self._news = asyncio.Event()
        self._event_log = EventLog(self._state)
        self._register = IncarnationTracker(self._past())
        self._unwritten: tuple[DomainEvent, ...] = ()
        self._requests = ShutdownRequests(connection.xenstore, self._we_stop)
        self._reconnected = False
        self._notifier = Notifier()
        self._shown = ""
        self.observer = Observer(
            connection.toolstack, connection.xenstore, connection.clock, safety=None
        )
        self.looks = 0
        self.listed_once = asyncio.Event()

    # --- what the observer shows ---

    def listed(self, listing: Listing) -> None:
        """There is a new listing."""
        self._seen()
        self._listing, self._error = listing, ""
        self._gap_before_picture |= self._gap
        self._gap = False
        self._news.set()

    def listing_failed(self, number: int, error: str) -> None:
        """There was none: what happens until the next one may have gone unseen."""
        self._seen()
        self._gap = True
        if self._error != error:
            self._error = error
            self._tell(self.summary)
            self._show()

    def reset(self, believes_from: int) -> None:
        """Nothing is ever done to a domain here, so no listing is too old."""

    # --- what it does ---

    async def watch(self, notifier: Notifier, watchdog: float | None = None) -> None:
        """Do it for as long as the task lives; raise ``Unreachable`` when there is nothing left.

        ``watchdog``: within so many seconds the notifier's owner wants to hear that all is well.
        """
        self._notifier = notifier
        self._host.xenstore.on_connection(self._connection)
        self.observer.subscribe(self)
        works = [
            asyncio.ensure_future(work)
            for work in (
                self.observer.watch(),
                self._requests.listen(),
                self._enter_news(),
                _tell_systemd(self, notifier, watchdog),
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
        """Return what is served: the last passage of each domain that came or went in this boot."""
        last = tuple(self._register.last.values())
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
        count = len(self._register.present)
        return f"watching {count} domain{'' if count == 1 else 's'}"

    def _seen(self) -> None:
        self.looks += 1
        self.listed_once.set()

    def _show(self) -> None:
        """Keep systemd's line of text up to date."""
        if self._shown != (text := self.summary):
            self._shown = text
            self._notifier.send(status=text)

    def _connection(self, connected: bool) -> None:
        self._gap = True
        if connected:
            self._reconnected = True
        else:
            self._requests.begin_anew()
            self._tell("the connection to XenStore is lost")

    async def _enter_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            listing = self._listing
            if listing is not None:
                await self._enter(listing.domains)

    async def _enter(self, domains: Sequence[DomainInfo]) -> None:
        """Write down what a listing tells."""
        if self._reconnected:
            await self._check_boot()
        gapless, self._gap_before_picture = not self._gap_before_picture, False
        missing = self._register.missing(domains)
        if missing or self._register.changed(domains):
            ends = {one.domid: await self._shutdown_reason(one) for one in missing}
            doubtful = self._register.present if self._we_stop() else self._requests.doubtful
            last_records, moves = self._runs_did()
            asked = self._requests.asked
            evidence = Evidence(last_records, moves, asked, ends, frozenset(doubtful), gapless)
            moment = Moment(self._host.clock.wall(), self._host.boot_id)
            self._keep(self._register.compare(domains, evidence, moment))
        elif self._unwritten:
            self._keep(())
        self._show()
        self._requests.attend(self._register.present.keys())
        self._listed_at = self._host.clock.wall()

    def _we_stop(self) -> bool:
        """Say whether a run of ours is stopping domains now."""
        holder = read_holder(self._run)
        return holder is not None and holder.command == Direction.DOWN.value

    async def _check_boot(self) -> None:
        """Domids begin anew with each boot: another monitor has to begin with them."""
        self._reconnected = False
        if await self._host.booted_anew():
            raise ToolstackUnreachable(
                "the host that was watched has gone, and another boot of it is there",
                hint="start the monitor again",
            )

    def _keep(self, domain_events: Sequence[DomainEvent]) -> None:
        """Write first: what was told must not be forgotten by a monitor that is killed then.

        What cannot be written now is written with what comes next, or at the next look.
        """
        self._unwritten = (*self._unwritten, *domain_events)[-REMEMBERED:]
        try:
            self._event_log.write(self._unwritten, self._register.last.values())
            self._unwritten = ()
        except JournalError as error:
            self._tell(str(error))
        for one in domain_events:
            self._tell(f"{one.name} (domid {one.domid}) {one.way.value}: {one.why}")

    async def _shutdown_reason(self, domain_event: DomainEvent) -> ShutdownReason | None:
        try:
            seen = DomainInfo(domain_event.domid, domain_event.uuid, domain_event.name)
            return await self._host.toolstack.shutdown_reason(seen)
        except (CallFailed, Unreachable):
            return None

    def _runs_did(self) -> tuple[Mapping[str, LastRecord], Mapping[int, Transition]]:
        """Return what runs wrote in this boot: last of each domain, and of each incarnation."""
        boot_id = self._host.boot_id
        try:
            reader = JournalReader(self._state)
            try:
                return reader.last_records(boot_id), reader.moves(boot_id)
            finally:
                reader.close()
        except JournalError as error:
            self._tell(f"what runs have done is not known: {error}")
            return {}, {}

    def _past(self) -> Sequence[DomainEvent]:
        try:
            return [one for one in read_event_log(self._state) if one.boot_id == self._host.boot_id]
        except JournalError as error:
            self._tell(str(error))
            return ()


@asynccontextmanager
async def open_monitor(
    configuration: Configuration, tell: Callable[[str], None]
) -> AsyncIterator[Monitor]:
    """Reach the host, and serve what is seen of it for the length of the block.

    Raises ``Unreachable`` when nothing can be seen, ``ConfigurationError`` for a wrong folder.
    """
    settings = configuration.host
    async with connect_host(configuration) as connection:
        monitor = Monitor(connection, settings, tell)
        socket = MonitorSocket(Path(settings.run.value), monitor.watched)
        await socket.open()
        try:
            yield monitor
        finally:
            socket.close()


async def _tell_systemd(monitor: Monitor, notifier: Notifier, seconds: float | None) -> None:
    """Tell systemd that the monitor has looked for the first time, and then that it still does.

    ``seconds`` is the time of its watchdog, in which it wants to hear that twice. Without a
    watchdog there is no tick, and this ends.
    """
    await monitor.listed_once.wait()
    notifier.send(ready=True, status=monitor.summary)
    looks = 0
    while seconds is not None:
        if monitor.looks > looks:
            notifier.send(watchdog=True, status=monitor.summary)
        looks = monitor.looks
        monitor.observer.relist()
        await monitor.clock.sleep(seconds / 2)
