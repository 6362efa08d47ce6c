"""The XenStore nodes that libxl writes for a domain, their permissions, and domain names.

A guest may read its part of the store, and owns the nodes that it is meant to write: the answers in
``control``, and ``data``, ``drivers``, ``feature``, ``attr`` and ``error``. Nodes that only devices
need are left out, because these domains have no devices.

``xl`` knows domains by their names in XenStore, which any client may write. So the names are
watched: a name is read again when its node may have changed, and the cost of looking one up does
not grow with the number of domains.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lamplighter.embedded.xenstored.access import DOM0, PRIVATE, owned, read_only
from lamplighter.errors import XenStoreError
from lamplighter.model.domain import Kind
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from lamplighter.embedded.toolstack.hypervisor import Domain
    from lamplighter.embedded.xenstored.access import Permissions
    from lamplighter.embedded.xenstored.store import Session, Store

#: The nodes that a guest owns, below its own node.
_GUESTS_OWN = (
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
)

_HVM_GUESTS_OWN = ("control/feature-s3", "control/feature-s4")


def write_control_domain(session: Session) -> None:
    """Write the nodes of the control domain, as ``xen-init-dom0`` does."""
    home = paths.domain(0)
    session.write(f"{home}/name", b"Domain-0")
    session.write(f"{home}/domid", b"0")
    session.write(f"{home}/memory/target", b"0")
    session.write("/libxl/0/type", b"pv")


def make(session: Session, domain: Domain, name: str) -> None:
    """Write a new domain's nodes, in one transaction (``libxl__domain_make``)."""
    home, vm, own = paths.domain(domain.domid), _vm(domain.uuid), f"/libxl/{domain.domid}"
    guest_reads, guest_owns = read_only(domain.domid), owned(domain.domid)
    tx = session.start()
    for path, granted in ((home, guest_reads), (vm, guest_reads), (own, PRIVATE)):
        if _exists(session, path, tx):
            session.rm(path, tx)
        _mknod(session, path, granted, tx)
    session.write(f"{home}/vm", vm.encode(), tx)
    session.write(f"{home}/name", name.encode(), tx)
    for part in ("cpu", "memory", "device", "control"):
        _mknod(session, f"{home}/{part}", guest_reads, tx)
    hvm = _HVM_GUESTS_OWN if domain.kind is Kind.HVM else ()
    for part in (*_GUESTS_OWN, *hvm):
        _mknod(session, f"{home}/{part}", guest_owns, tx)
    session.write(f"{vm}/uuid", str(domain.uuid).encode(), tx)
    session.write(f"{vm}/name", name.encode(), tx)
    for feature in ("multiprocessor-suspend", "xs_reset_watches"):
        session.write(f"{home}/control/platform-feature-{feature}", b"1", tx)
    session.write(f"{own}/type", domain.kind.value.encode(), tx)
    session.end(tx, commit=True)


def describe(session: Session, domain: Domain, now: datetime) -> None:
    """Write the nodes that follow once the domain is built (``libxl__build_post``)."""
    home, vm = paths.domain(domain.domid), _vm(domain.uuid)
    memory = b"%d" % (domain.memory * 1024)
    tx = session.start()
    for path, value in (
        ("memory/static-max", memory),
        ("memory/target", memory),
        ("memory/videoram", b"0"),
        ("domid", b"%d" % domain.domid),
        ("store/port", b"1"),
        ("store/ring-ref", b"1"),
        ("cpu/0/availability", b"online"),
    ):
        session.write(f"{home}/{path}", value, tx)
    session.write(f"{vm}/start_time", f"{now.timestamp():.2f}".encode(), tx)
    session.end(tx, commit=True)


def remove(session: Session, domid: int) -> None:
    """Remove a domain's nodes, as libxl does before the domain itself is destroyed."""
    home = paths.domain(domid)
    with contextlib.suppress(XenStoreError):  # somebody removed the node
        session.rm(session.read(f"{home}/vm").decode())
    for path in (home, f"/libxl/{domid}"):
        if _exists(session, path):
            session.rm(path)


def rename(session: Session, domain: Domain, name: str, uuid: UUID) -> None:
    """Keep a domain under another name and UUID (``libxl_domain_preserve``)."""
    home, vm = paths.domain(domain.domid), _vm(uuid)
    tx = session.start()
    session.rm(_vm(domain.uuid), tx)
    _mknod(session, vm, read_only(domain.domid), tx)
    session.write(f"{vm}/uuid", str(uuid).encode(), tx)
    session.write(f"{vm}/name", name.encode(), tx)
    session.write(f"{home}/vm", vm.encode(), tx)
    session.write(f"{home}/name", name.encode(), tx)
    session.end(tx, commit=True)


def _vm(uuid: UUID) -> str:
    return f"/vm/{uuid}"


def _mknod(session: Session, path: str, granted: Permissions, tx: int) -> None:
    session.mkdir(path, tx)
    session.set_permissions(path, granted, tx)


def _exists(session: Session, path: str, tx: int = 0) -> bool:
    try:
        session.get_permissions(path, tx)
    except XenStoreError:
        return False
    return True


class Names:
    """Tracks the names of the domains it is given."""

    def __init__(self, store: Store) -> None:
        self._session = store.connect(DOM0, self._node_changed)
        self._names: dict[int, str] = {}
        self._by_name: dict[str, set[int]] = {}
        self._stale: set[int] = set()

    def follow(self, domid: int) -> None:
        """Begin to track a new domain; its name may be written later."""
        self._rename(domid, "")
        self._session.watch(paths.name(domid), b"%d" % domid)

    def leave(self, domid: int) -> None:
        """Stop tracking a domain that is gone."""
        self._session.unwatch(paths.name(domid), b"%d" % domid)
        self._rename(domid, None)
        self._stale.discard(domid)

    def of(self, domid: int) -> str:
        """Return a domain's name; empty when it has no name node, or no longer."""
        self._refresh()
        return self._names.get(domid, "")

    def taken(self, name: str) -> bool:
        """Return whether a domain has this name, whether it runs or not."""
        self._refresh()
        return name in self._by_name

    def _node_changed(self, _path: str, token: bytes) -> None:
        self._stale.add(int(token))

    def _refresh(self) -> None:
        """Read the names that may have changed."""
        while self._stale:
            domid = self._stale.pop()
            try:
                name = self._session.read(paths.name(domid)).decode("utf-8", "replace")
            except XenStoreError:
                name = ""
            self._rename(domid, name)

    def _rename(self, domid: int, name: str | None) -> None:
        before = self._names.pop(domid, None)
        if before is not None:
            self._by_name[before].discard(domid)
            if not self._by_name[before]:
                del self._by_name[before]
        if name is not None:
            self._names[domid] = name
            self._by_name.setdefault(name, set()).add(domid)
