"""The content of XenStore and the sessions that use it, without I/O and without a clock.

``Store.connect`` opens a ``Session`` on behalf of a domain: for a client of the Unix socket that is
the control domain, for a guest's kernel its own. A session refuses a request by raising
``XenStoreError`` with the name that xenstored would answer. Paths may be relative to the session's
domain; the caller must have checked their form (``paths.fault``).

A domain is *introduced* after it was created, and released when it is gone. Then its sessions are
closed and the nodes it still owns are removed, because they would have no owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.embedded.xenstored import operations
from lamplighter.embedded.xenstored.access import DOM0, PRIVATE, Quotas
from lamplighter.embedded.xenstored.operations import Actor, Change
from lamplighter.embedded.xenstored.transactions import Transaction
from lamplighter.embedded.xenstored.tree import ROOT, Node, Tree, View
from lamplighter.embedded.xenstored.watches import Watches
from lamplighter.errors import XenStoreError
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.embedded.xenstored.access import Permissions

#: Transaction ids are 32-bit numbers; 0 means no transaction.
TRANSACTION_MAX = 2**32 - 1


class Store:
    """All nodes, sessions, watches and introduced domains."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.tree = Tree()
        self.watches = Watches()
        self._introduced: dict[int, None] = {DOM0: None}
        self._sessions: dict[int, dict[Session, None]] = {}
        for path in (ROOT, paths.INTRODUCE_DOMAIN, paths.RELEASE_DOMAIN):
            self.tree.put(path, Node(PRIVATE))
        operations.mkdir(self.tree, Actor(DOM0, self.quotas), "/tool/xenstored")

    def connect(self, domid: int, fired: Callable[[str, bytes], None]) -> Session:
        """Open a session for a domain; ``fired(path, token)`` is called for every watch event.

        ``fired`` must not call the store.
        """
        session = Session(self, domid, fired)
        self._sessions.setdefault(domid, {})[session] = None
        return session

    def disconnected(self, session: Session) -> None:
        """Forget a session; for ``Session.close``."""
        mine = self._sessions.get(session.domid, {})
        mine.pop(session, None)
        if not mine:
            self._sessions.pop(session.domid, None)

    def is_introduced(self, domid: int) -> bool:
        """Return whether a domain was introduced and not released yet."""
        return domid in self._introduced

    def introduce(self, domid: int) -> None:
        """Introduce a new domain and fire ``@introduceDomain``, unless it is known already."""
        if domid not in self._introduced:
            self._introduced[domid] = None
            self.fire_special(paths.INTRODUCE_DOMAIN)

    def release(self, domid: int) -> None:
        """Close a gone domain's sessions, remove its nodes and fire ``@releaseDomain``."""
        for session in tuple(self._sessions.get(domid, ())):
            session.close()
        for path in tuple(self.tree.paths_of(domid)):
            # Removing a node also removes those that other domains created below it.
            if not paths.is_special(path) and self.tree.find(path) is not None:
                self.watches.fire(operations.remove(self.tree, path))
        if domid in self._introduced:
            del self._introduced[domid]
            self.fire_special(paths.RELEASE_DOMAIN)

    def fire_special(self, path: str) -> None:
        """Fire the watches on ``@introduceDomain`` or ``@releaseDomain``."""
        node = self.tree.find(path)
        assert node is not None, "special nodes always exist"
        self.watches.fire([Change(path, exact=True, grants=(node.permissions,))])


class Session:
    """One connection, on behalf of one domain. ``tx`` is a transaction id, or 0 for none."""

    def __init__(self, store: Store, domid: int, fired: Callable[[str, bytes], None]) -> None:
        """Use ``Store.connect`` instead."""
        self.domid = domid
        self.fired = fired
        self._store = store
        self._actor = Actor(domid, store.quotas)
        self._home = paths.domain(domid)
        self._transactions: dict[int, Transaction] = {}
        self._last_id = 0

    @property
    def privileged(self) -> bool:
        """Whether this session belongs to the control domain."""
        return self.domid == DOM0

    def read(self, path: str, tx: int = 0) -> bytes:
        """Return a node's value."""
        return operations.read(self._view(tx), self._actor, self._absolute(path)).value

    def directory(self, path: str, tx: int = 0) -> tuple[int, list[str]]:
        """Return a node's generation and the names of its children."""
        node = operations.read(self._view(tx), self._actor, self._absolute(path))
        return node.generation, list(node.children)

    def get_permissions(self, path: str, tx: int = 0) -> Permissions:
        """Return a node's permissions."""
        return operations.read(self._view(tx), self._actor, self._absolute(path)).permissions

    def write(self, path: str, value: bytes, tx: int = 0) -> None:
        """Set a node's value, creating the node and its parents if they are missing."""
        changes = operations.write(self._view(tx), self._actor, self._absolute(path), value)
        self._changed(changes, tx)

    def mkdir(self, path: str, tx: int = 0) -> None:
        """Create an empty node unless it exists."""
        self._changed(operations.mkdir(self._view(tx), self._actor, self._absolute(path)), tx)

    def rm(self, path: str, tx: int = 0) -> None:
        """Remove a node and all below it."""
        self._changed(operations.rm(self._view(tx), self._actor, self._absolute(path)), tx)

    def set_permissions(self, path: str, granted: Permissions, tx: int = 0) -> None:
        """Replace a node's permissions; there must be at least one."""
        if not granted:
            raise XenStoreError("EINVAL", "a node has at least one permission")
        path = self._absolute(path)
        self._changed(operations.set_permissions(self._view(tx), self._actor, path, granted), tx)

    # --- watches ---

    def watch(self, path: str, token: bytes) -> None:
        """Set a watch; it fires at once."""
        if self._actor.limited and self._store.watches.count(self) > self._store.quotas.watches:
            raise XenStoreError("E2BIG", "too many watches")
        full = self._absolute(path)
        watch = self._store.watches.add(self, full, token, len(full) - len(path))
        watch.fire(full)

    def unwatch(self, path: str, token: bytes) -> None:
        """Remove a watch."""
        self._store.watches.remove(self, self._absolute(path), token)

    def reset(self) -> None:
        """Remove all watches and abort all transactions."""
        self._store.watches.remove_all(self)
        self._transactions.clear()

    # --- transactions ---

    def start(self, tx: int = 0) -> int:
        """Start a transaction and return its id; EBUSY within another one."""
        self._view(tx)
        if tx:
            raise XenStoreError("EBUSY", "transactions do not nest")
        if self._actor.limited and len(self._transactions) > self._store.quotas.transactions:
            raise XenStoreError("ENOSPC", "too many transactions")
        self._last_id = self._last_id % TRANSACTION_MAX + 1
        while self._last_id in self._transactions:
            self._last_id = self._last_id % TRANSACTION_MAX + 1
        self._transactions[self._last_id] = Transaction(self._store.tree, self._actor)
        return self._last_id

    def end(self, tx: int, *, commit: bool) -> None:
        """End a transaction; ``StoreConflict`` (EAGAIN) when its snapshot is out of date."""
        transaction = self._transactions.pop(tx, None)
        if transaction is None:
            raise XenStoreError("ENOENT", "no such transaction")
        if commit:
            self._store.watches.fire(transaction.commit())

    # --- domains ---

    def is_introduced(self, domid: int) -> bool:
        """Return whether a domain is introduced; only the control domain may ask."""
        self._only_dom0()
        return self._store.is_introduced(domid)

    def introduce(self, domid: int) -> None:
        """Do nothing for an introduced domain, else EINVAL: new ones come from the hypervisor."""
        self._only_dom0()
        if not self._store.is_introduced(domid):
            raise XenStoreError("EINVAL", "there is no such domain to introduce")

    def release(self, domid: int) -> None:
        """Release a domain although it still runs."""
        self._only_dom0()
        if domid == DOM0 or not self._store.is_introduced(domid):
            raise XenStoreError("EINVAL" if domid == DOM0 else "ENOENT")
        self._store.release(domid)

    def must_know(self, *domids: int) -> None:
        """Raise ENOENT unless all these domains are introduced; only the control domain may ask."""
        self._only_dom0()
        if not all(map(self._store.is_introduced, domids)):
            raise XenStoreError("ENOENT")

    def check(self) -> list[str]:
        """Return the inconsistencies of the tree; there should never be any."""
        return self._store.tree.faults()

    def close(self) -> None:
        """End the session."""
        self.reset()
        self._store.disconnected(self)

    # --- helpers ---

    def _only_dom0(self) -> None:
        if not self.privileged:
            raise XenStoreError("EACCES", "only the control domain may do that")

    def _absolute(self, path: str) -> str:
        return path if path.startswith(("/", "@")) else f"{self._home}/{path}"

    def _view(self, tx: int) -> View:
        if not tx:
            return self._store.tree
        try:
            return self._transactions[tx]
        except KeyError:
            raise XenStoreError("ENOENT", "no such transaction") from None

    def _changed(self, changes: list[Change], tx: int) -> None:
        if tx:
            self._transactions[tx].queue(changes)
        else:
            self._store.watches.fire(changes)
