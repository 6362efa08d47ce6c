"""The domains' names, as XenStore has them: ``xl`` knows no others.

Names are nodes, and any client may write them, so they are watched: a name is read again when its
node may have changed, and finding out whether a name is taken does not take longer with every
domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.embedded.xenstored.access import DOM0
from lamplighter.errors import XenStoreError
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from lamplighter.embedded.xenstored.store import Store


class Names:
    """Follows the names of those domains it is told of."""

    def __init__(self, store: Store) -> None:
        self._session = store.connect(DOM0, self._tell)
        self._names: dict[int, str] = {}
        self._bearers: dict[str, set[int]] = {}
        self._stale: set[int] = set()

    def follow(self, domid: int) -> None:
        """A domain was made; its name may come later."""
        self._rename(domid, "")
        self._session.watch(paths.name(domid), b"%d" % domid)

    def leave(self, domid: int) -> None:
        """A domain has gone."""
        self._session.unwatch(paths.name(domid), b"%d" % domid)
        self._rename(domid, None)
        self._stale.discard(domid)

    def of(self, domid: int) -> str:
        """Return a domain's name; empty when it has no nodes, or no longer."""
        self._catch_up()
        return self._names.get(domid, "")

    def taken(self, name: str) -> bool:
        """Say whether a domain has this name, dead or alive."""
        self._catch_up()
        return name in self._bearers

    def _tell(self, _path: str, token: bytes) -> None:
        self._stale.add(int(token))

    def _catch_up(self) -> None:
        while self._stale:
            domid = self._stale.pop()
            self._rename(domid, self._read(domid))

    def _rename(self, domid: int, name: str | None) -> None:
        before = self._names.pop(domid, None)
        if before is not None:
            self._bearers[before].discard(domid)
            if not self._bearers[before]:
                del self._bearers[before]
        if name is not None:
            self._names[domid] = name
            self._bearers.setdefault(name, set()).add(domid)

    def _read(self, domid: int) -> str:
        try:
            return self._session.read(paths.name(domid)).decode("utf-8", "replace")
        except XenStoreError:
            return ""
