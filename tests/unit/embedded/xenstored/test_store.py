"""The embedded XenStore's rules: permissions, transactions, watches, quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.xenstored.access import Quotas, owned, read_only
from lamplighter.embedded.xenstored.store import Session, Store
from lamplighter.errors import StoreConflict, XenStoreError
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable


class Client:
    """A session and the events it was sent."""

    def __init__(self, store: Store, domid: int = 0) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.session: Session = store.connect(domid, lambda *event: self.events.append(event))

    def take(self) -> list[tuple[str, bytes]]:
        events, self.events[:] = list(self.events), []
        return events


def refused(call: Callable[..., object], *arguments: object, **named: object) -> str:
    with pytest.raises(XenStoreError) as caught:
        call(*arguments, **named)
    return caught.value.name


@pytest.fixture
def store() -> Store:
    store = Store(Quotas(nodes=10, watches=3, transactions=2, permissions=3, node_size=200))
    dom0 = Client(store).session
    store.introduce(5)
    dom0.mkdir("/local/domain/5")
    dom0.set_permissions("/local/domain/5", read_only(5))
    dom0.mkdir("/local/domain/5/data")
    dom0.set_permissions("/local/domain/5/data", owned(5))
    return store


# --- permissions -----------------------------------------------------------------------------


def test_a_guest_writes_only_where_it_may(store: Store) -> None:
    guest = Client(store, 5).session
    guest.write("data/mine", b"1")
    assert guest.read("/local/domain/5/data/mine") == b"1"
    assert refused(guest.write, "name", b"x") == "EACCES"
    assert refused(guest.read, "/local/domain/6/name") == "EACCES", "not even that it is missing"
    assert refused(guest.read, "data/none") == "ENOENT"
    assert refused(guest.rm, "/local/domain/5") == "EACCES"


def test_a_guest_owns_what_it_makes_and_cannot_give_it_away(store: Store) -> None:
    guest = Client(store, 5).session
    guest.write("data/mine", b"1")
    assert [granted.domid for granted in guest.get_permissions("data/mine")] == [5]
    assert refused(guest.set_permissions, "data/mine", owned(0)) == "EPERM"
    assert refused(guest.set_permissions, "data/mine", owned(5) * 4) == "ENOSPC"
    assert refused(guest.set_permissions, "data/mine", ()) == "EINVAL"
    other = Client(store, 6).session
    assert refused(other.read, "/local/domain/5/data/mine") == "EACCES"
    guest.set_permissions("data/mine", (*owned(5), read_only(6)[1]))
    assert other.read("/local/domain/5/data/mine") == b"1"
    assert refused(other.write, "/local/domain/5/data/mine", b"2") == "EACCES"


def test_only_the_control_domain_may_ask_about_domains(store: Store) -> None:
    guest, dom0 = Client(store, 5).session, Client(store).session
    assert refused(guest.is_introduced, 5) == "EACCES"
    assert refused(guest.release, 5) == "EACCES"
    assert dom0.is_introduced(5)
    assert refused(dom0.release, 0) == "EINVAL"
    assert refused(dom0.introduce, 77) == "EINVAL"


def test_the_root_stays(store: Store) -> None:
    dom0 = Client(store).session
    assert refused(dom0.rm, "/") == "EINVAL"
    dom0.write("/a/b/c", b"")
    dom0.rm("/a")
    dom0.rm("/a")  # not there, but its parent is
    assert refused(dom0.rm, "/a/b") == "ENOENT"
    assert store.tree.faults() == []


# --- transactions ----------------------------------------------------------------------------


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    client, other = Client(store), Client(store)
    other.session.watch("/x", b"t")
    other.take()
    tx = client.session.start()
    client.session.write("/x/a", b"1", tx)
    client.session.write("/x/b", b"2", tx)
    assert refused(other.session.read, "/x/a") == "ENOENT"
    assert other.take() == []
    client.session.end(tx, commit=True)
    assert other.session.read("/x/a") == b"1"
    assert {path for path, _ in other.take()} == {"/x/a", "/x/b"}
    tx = client.session.start()
    client.session.rm("/x", tx)
    client.session.end(tx, commit=False)
    assert other.session.read("/x/b") == b"2"
    assert refused(client.session.end, tx, commit=True) == "ENOENT"


@pytest.mark.parametrize(
    ("mine", "theirs", "conflict"),
    [
        (lambda s, tx: s.read("/n", tx), lambda s: s.write("/n", b"2"), True),
        (lambda s, tx: s.read("/n", tx), lambda s: s.write("/m", b"2"), False),
        (lambda s, tx: s.write("/n", b"3", tx), lambda s: s.write("/n", b"2"), True),
        (lambda s, tx: s.read("/n", tx), lambda s: s.rm("/n"), True),
        (lambda s, tx: s.directory("/", tx), lambda s: s.mkdir("/new"), True),
        (lambda s, tx: s.mkdir("/new", tx), lambda s: s.mkdir("/new"), True),
        (lambda s, tx: s.read("/n", tx), lambda s: s.set_permissions("/n", owned(0)), True),
        (lambda s, tx: s.rm("/n", tx), lambda s: s.read("/n"), False),
    ],
)
def test_a_transaction_conflicts_when_what_it_looked_at_changed(
    store: Store,
    mine: Callable[[Session, int], object],
    theirs: Callable[[Session], object],
    conflict: bool,
) -> None:
    client, other = Client(store).session, Client(store).session
    other.write("/n", b"1")
    other.write("/m", b"1")
    tx = client.start()
    mine(client, tx)
    theirs(other)
    if conflict:
        with pytest.raises(StoreConflict):
            client.end(tx, commit=True)
        assert refused(client.read, "/n", tx) == "ENOENT", "it has ended all the same"
    else:
        client.end(tx, commit=True)
    assert store.tree.faults() == []


def test_transactions_do_not_nest(store: Store) -> None:
    client = Client(store).session
    assert refused(client.start, client.start()) == "EBUSY"


# --- watches ---------------------------------------------------------------------------------


def test_a_watch_fires_when_set_and_for_all_below(store: Store) -> None:
    client, other = Client(store), Client(store)
    client.session.watch("/a", b"t")
    assert client.take() == [("/a", b"t")]
    other.session.write("/a/b/c", b"")
    assert client.take() == [("/a/b/c", b"t")]
    other.session.write("/ab", b"")
    assert client.take() == []
    other.session.rm("/a/b")
    assert ("/a/b", b"t") in client.take()
    assert refused(client.session.watch, "/a", b"t") == "EEXIST"
    client.session.unwatch("/a", b"t")
    assert refused(client.session.unwatch, "/a", b"t") == "ENOENT"
    other.session.write("/a", b"2")
    assert client.take() == []


def test_a_watch_below_what_is_removed_fires_exactly(store: Store) -> None:
    client, other = Client(store), Client(store)
    other.session.write("/a/b/c", b"")
    client.session.watch("/a/b/c", b"t")
    client.take()
    other.session.rm("/a")
    assert client.take() == [("/a/b/c", b"t")]


def test_a_relative_watch_is_sent_relative_paths(store: Store) -> None:
    guest = Client(store, 5)
    guest.session.watch("data", b"t")
    Client(store).session.write("/local/domain/5/data/x", b"")
    assert guest.take() == [("data", b"t"), ("data/x", b"t")]


def test_a_guest_is_sent_events_only_of_what_it_may_read(store: Store) -> None:
    guest = Client(store, 5)
    guest.session.watch("/secret", b"t")
    guest.take()
    Client(store).session.write("/secret/plan", b"")
    assert guest.take() == []


def test_special_watches(store: Store) -> None:
    dom0, guest = Client(store), Client(store, 5)
    for path in (paths.INTRODUCE_DOMAIN, paths.RELEASE_DOMAIN):
        dom0.session.watch(path, b"t")
    guest.session.watch(paths.RELEASE_DOMAIN, b"t")
    dom0.take(), guest.take()
    store.introduce(6)
    store.introduce(6)
    assert dom0.take() == [(paths.INTRODUCE_DOMAIN, b"t")]
    store.release(6)
    store.release(6)
    assert dom0.take() == [(paths.RELEASE_DOMAIN, b"t")]
    assert guest.take() == [], "a guest gets no events of others unless it is granted them"


def test_what_a_domain_owned_goes_with_it(store: Store) -> None:
    guest = Client(store, 5)
    guest.session.write("data/mine/deep", b"1")
    guest.session.watch("data", b"t")
    store.release(5)
    assert list(store.tree.paths_of(5)) == []
    assert store.watches.count(guest.session) == 0
    assert store.tree.find("/local/domain/5") is not None, "that is dom0's"
    assert store.tree.faults() == []


# --- quotas ----------------------------------------------------------------------------------


def test_a_guest_can_use_so_much_and_no_more(store: Store) -> None:
    guest, dom0 = Client(store, 5).session, Client(store).session
    for number in range(9):
        guest.mkdir(f"data/{number}")
    assert refused(guest.mkdir, "data/one-too-many") == "ENOSPC"
    guest.rm("data/0")
    guest.mkdir("data/0")
    assert refused(guest.write, "data/1", bytes(200)) == "ENOSPC"
    for number in range(20):
        dom0.mkdir(f"/free/{number}")


def test_a_transaction_cannot_get_round_the_quota(store: Store) -> None:
    guest = Client(store, 5).session
    first, second = guest.start(), guest.start()
    for number in range(6):
        guest.mkdir(f"data/a/{number}", first)
    guest.end(first, commit=True)
    assert refused(guest.mkdir, "data/b/c/d/e", second) == "ENOSPC"


def test_watches_and_transactions_are_limited(store: Store) -> None:
    guest = Client(store, 5).session
    names = []
    for number in range(9):
        try:
            guest.watch("data", b"%d" % number)
        except XenStoreError as error:
            names.append(error.name)
    assert set(names) == {"E2BIG"}
    assert store.watches.count(guest) < 9
    has_run = []
    with pytest.raises(XenStoreError, match="too many transactions"):
        has_run += [guest.start() for _ in range(9)]
    guest.reset()
    assert store.watches.count(guest) == 0
    guest.start()
