"""The XenStore client for the rest of Lamplighter: requests, transactions, watches.

The connection is to xenstored's socket, or to ``/dev/xen/xenbus`` where there is no socket. When
it is lost, every pending request and every new one raises ``XenStoreUnreachable`` (or the
``ProtocolError`` that ended it): no request is queued until the connection is back, because it may
be wrong by then. In the background the connection is opened again, with growing pauses, and all
watches are registered again. XenStore fires a watch when it is registered, so whatever happened
meanwhile is noticed; after that the callbacks of ``on_connection`` are called with True.

The only deadlines here are those of connecting: callers put ``within`` or ``clock.timeout`` around
their requests and may be cancelled at any moment.

Transactions belong to a connection. The numbers given to a transaction's body are this object's
own and never used twice, so one from before a reconnect cannot be taken for one after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, TypeVar

from lamplighter.errors import (
    LamplighterError,
    StoreConflict,
    Unreachable,
    XenStoreError,
    XenStoreUnreachable,
)
from lamplighter.host.xenstore.connection import Link, Watch
from lamplighter.xenstore import permissions
from lamplighter.xenstore.client import (
    parse_flag,
    parse_names,
    parse_part,
    parse_permissions,
    parse_text,
    path_field,
)
from lamplighter.xenstore.wire import Op

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from lamplighter.model.clock import Clock
    from lamplighter.xenstore.permissions import Permission

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Host seconds before the first attempt to connect again, and the most between two attempts.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
#: Host seconds that one attempt may take, including the registration of all watches.
ATTEMPT_TIMEOUT = 30.0
#: Host seconds that a connection must have lasted for the pauses to start small again.
STEADY = 30.0
#: How often a transaction is tried: a guest that writes without pause could make each one fail.
TRANSACTION_ATTEMPTS = 64
#: The most bytes of names that one directory may have, and how often its listing is started when
#: the directory changes between two parts.
DIRECTORY_MAX = 1024 * 1024
DIRECTORY_ATTEMPTS = 16


class XenStore:
    """A client of XenStore that outlives its connections."""

    def __init__(self, path: str, clock: Clock) -> None:
        """Use ``connect``."""
        self._path = path
        self._clock = clock
        self._link = Link(self._lost)
        self._connected = True
        self._closed = False
        self._since = clock.monotonic()
        self._pause = FIRST_PAUSE
        self._reconnecting: asyncio.Task[None] | None = None
        self._watches: dict[Watch, None] = {}  # in the order of their registration
        self._listeners: list[Callable[[bool], None]] = []
        self._numbers = itertools.count(1)
        self._transactions: dict[int, tuple[Link, int]] = {}

    @classmethod
    async def connect(cls, path: str, clock: Clock) -> XenStore:
        """Connect to the socket or device at ``path``; ``XenStoreUnreachable``."""
        store = cls(path, clock)
        async with store.within(ATTEMPT_TIMEOUT):
            await store._link.open(path)
        logger.debug("connected to XenStore at %s", path)
        return store

    @contextlib.asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Bound the block, in host seconds; ``XenStoreUnreachable`` when time is up before its end.

        A XenStore that hangs keeps its connection, and nothing else would report it.
        """
        try:
            async with self._clock.timeout(seconds):
                yield
        except TimeoutError:
            raise XenStoreUnreachable(
                f"XenStore has not answered for {seconds:g} s",
                hint="does xenstored hang? xenstore-ls / would hang, too",
            ) from None

    async def read(self, path: str, tx: int = 0) -> bytes:
        """Return a node's value."""
        link, tx_id = self._within(tx)
        return await link.call(Op.READ, path_field(path), tx_id)

    async def read_or_none(self, path: str, tx: int = 0) -> bytes | None:
        """Return a node's value, or None when there is no such node."""
        try:
            return await self.read(path, tx)
        except XenStoreError as error:
            if error.name == "ENOENT":
                return None
            raise

    async def write(self, path: str, value: bytes, tx: int = 0) -> None:
        """Write a node's value; the node and missing ones above it are created."""
        link, tx_id = self._within(tx)
        await link.call(Op.WRITE, path_field(path) + value, tx_id)

    async def mkdir(self, path: str, tx: int = 0) -> None:
        """Create an empty node; an existing one is left as it is."""
        link, tx_id = self._within(tx)
        await link.call(Op.MKDIR, path_field(path), tx_id)

    async def rm(self, path: str, tx: int = 0) -> None:
        """Remove a node and all below it; a missing one is not an error."""
        link, tx_id = self._within(tx)
        await link.call(Op.RM, path_field(path), tx_id)

    async def directory(self, path: str, tx: int = 0) -> list[str]:
        """Return the names of the children of a node."""
        link, tx_id = self._within(tx)
        try:
            return await link.ask(Op.DIRECTORY, path_field(path), tx_id, parse_names)
        except XenStoreError as error:
            if error.name != "E2BIG":
                raise
        # It does not fit into one packet, so it is read in parts: from the start again when the
        # directory changed between two of them.
        for _ in range(DIRECTORY_ATTEMPTS):
            names, expected, last = bytearray(), None, False
            while not last:
                if len(names) > DIRECTORY_MAX:
                    message = f"{path} lists more than {DIRECTORY_MAX} bytes of names"
                    raise XenStoreError("E2BIG", message)
                request = path_field(path) + b"%d\0" % len(names)
                part = await link.ask(Op.DIRECTORY_PART, request, tx_id, parse_part)
                generation, more, last = part
                if expected not in (None, generation):
                    break
                expected = generation
                names += more
            else:
                return parse_names(bytes(names))
        raise XenStoreError("EAGAIN", f"{path} changed {DIRECTORY_ATTEMPTS} times while listed")

    async def get_permissions(self, path: str, tx: int = 0) -> list[Permission]:
        """Return a node's permissions; the first names the owner and everybody's access."""
        link, tx_id = self._within(tx)
        return await link.ask(Op.GET_PERMS, path_field(path), tx_id, parse_permissions)

    async def set_permissions(self, path: str, granted: Sequence[Permission], tx: int = 0) -> None:
        """Replace a node's permissions; there must be at least one."""
        link, tx_id = self._within(tx)
        await link.call(Op.SET_PERMS, path_field(path) + permissions.encode(granted), tx_id)

    async def get_domain_path(self, domid: int) -> str:
        """Return the path of a domain's own node, whether the domain exists or not."""
        return await self._link.ask(Op.GET_DOMAIN_PATH, b"%d\0" % domid, 0, parse_text)

    async def is_domain_introduced(self, domid: int) -> bool:
        """Return whether XenStore knows the domain: from its creation to its end."""
        return await self._link.ask(Op.IS_DOMAIN_INTRODUCED, b"%d\0" % domid, 0, parse_flag)

    async def transact(
        self, body: Callable[[int], Awaitable[T]], attempts: int = TRANSACTION_ATTEMPTS
    ) -> T:
        """Run ``body(tx)`` in a transaction and return what it returned once it is committed.

        After a conflict with another writer the body is run again from the start, so it must have
        no effects but through ``tx``; ``StoreConflict`` when that happens ``attempts`` times. Any
        other exception of the body aborts the transaction.
        """
        for _ in range(attempts):
            link = self._link
            tx_id = await link.start()
            tx = next(self._numbers)
            self._transactions[tx] = (link, tx_id)
            ended = False
            try:
                result = await body(tx)
                ended = True
                await link.commit(tx_id)
            except StoreConflict:
                continue
            else:
                return result
            finally:
                del self._transactions[tx]
                if not ended:
                    link.abort(tx_id)
        raise StoreConflict(f"a transaction conflicted {attempts} times in a row")

    def _within(self, tx: int) -> tuple[Link, int]:
        """Return the connection that a transaction belongs to, and its id there."""
        if not tx:
            return self._link, 0
        try:
            return self._transactions[tx]
        except KeyError:
            raise XenStoreError("ENOENT", f"transaction {tx} has ended") from None

    async def watch(self, path: str, fired: Callable[[str], None]) -> Watch:
        """Call ``fired(path)`` in the loop whenever a node, or one below it, may have changed.

        It fires once on registration and once after each reconnect, maybe before this returns.
        """
        watch = Watch(path, fired)
        try:
            await self._link.register([watch])
        except (LamplighterError, asyncio.CancelledError):
            watch.active = False
            raise
        self._watches[watch] = None
        return watch

    async def unwatch(self, watch: Watch) -> None:
        """Remove a watch; from now on it does not fire. A lost connection is not an error."""
        watch.active = False
        self._watches.pop(watch, None)
        await self._link.unregister(watch)

    async def reset_watches(self) -> None:
        """Remove all watches, and abort all transactions."""
        watches = tuple(self._watches)
        self._watches.clear()
        for watch in watches:
            watch.active = False
        self._link.forget_watches()
        await self._link.call(Op.RESET_WATCHES, b"\0")

    def on_connection(self, changed: Callable[[bool], None]) -> None:
        """Call ``changed`` in the loop: False when the connection is lost, True when it is back."""
        self._listeners.append(changed)

    async def close(self) -> None:
        """Close the connection; pending requests raise ``XenStoreUnreachable``."""
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        await self._link.close()

    def _lost(self) -> None:
        if self._closed or not self._connected:
            return
        if self._clock.monotonic() - self._since >= STEADY:
            self._pause = FIRST_PAUSE
        logger.debug("reconnecting to XenStore at %s", self._path)
        self._notify(connected=False)
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    def _notify(self, *, connected: bool) -> None:
        self._connected = connected
        for changed in self._listeners:
            # Each in a loop iteration of its own: the loop reports what a callback raises.
            asyncio.get_running_loop().call_soon(changed, connected)

    async def _reconnect(self) -> None:
        back = False
        while not back:
            await self._clock.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            try:
                async with self._clock.timeout(ATTEMPT_TIMEOUT):
                    link = Link(self._lost)
                    await link.open(self._path)
                    # Requests and new watches may go on; the old watches follow.
                    self._link = link
                    await link.register(tuple(self._watches))
                    back = link.alive
            except (Unreachable, XenStoreError, TimeoutError) as error:
                pause = self._pause
                logger.debug("no connection to XenStore (%r); again in %g s", error, pause)
                await self._link.close()
        logger.debug("connected to XenStore again; watches: %d", len(self._watches))
        self._since = self._clock.monotonic()
        self._notify(connected=True)
