"""Intents and holds decide what is started: they are kept whole, or are not known."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import JournalError
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal import intent_file
from lamplighter.host.journal.intent_file import BEFORE, FILE_NAME, LOCK
from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.schema import APPLICATION_ID, MIGRATIONS
from lamplighter.host.journal.schema import FILE_NAME as JOURNAL
from lamplighter.host.journal.writer import Journal
from lamplighter.host.lock import hold
from lamplighter.model.domain import Definition, Kind
from lamplighter.model.intent import Hold, Intents, Meant
from tests import virtual
from tests.intents import AT, HOLD, MEANT, SAID, WEB, change
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from pathlib import Path


def test_a_first_start_knows_of_none_and_then_has_a_file(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "state"
    assert load_intents(directory) == Intents()
    change(directory, lambda store: store.settle())
    assert load_intents(directory) == Intents(number=1)
    assert (directory / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_what_is_newer_replaces_what_was_and_the_file_before_it_is_kept(state: Path) -> None:
    down = MEANT._replace(meant=Meant.DOWN, domid=None)
    before = (state / FILE_NAME).read_bytes()
    change(state, lambda store: store.intend(down))
    assert load_intents(state) == Intents({"web": down}, {"db": HOLD}, number=3)
    assert (state / BEFORE).read_bytes() == before
    change(state, lambda store: store.release("db"))
    assert load_intents(state).holds == {}
    again = HOLD._replace(reason="still broken")
    change(state, lambda store: store.hold(again), lambda store: store.hold(again))
    assert load_intents(state) == Intents({"web": down}, {"db": again}, number=5)


@pytest.mark.parametrize("key", [str(WEB), "web"])
def test_the_hold_on_one_domain_is_found_under_its_uuid_or_its_name(
    tmp_path: Path, key: str
) -> None:
    web = Definition("web", WEB, Kind.PV, "/etc/xen/web.cfg")
    others = [web._replace(name="db", uuid=UUID(int=2)), web._replace(name="no\udcff", uuid=None)]
    change(tmp_path, lambda store: store.hold(HOLD._replace(domain=key)))
    known = load_intents(tmp_path)
    assert known.hold_of(web) == HOLD._replace(domain=key)
    assert [known.hold_of(other) for other in others] == [None, None]


def test_a_name_that_is_not_utf_8_is_held(tmp_path: Path) -> None:
    odd = Definition("no\udcff", None, Kind.PV, "/etc/xen/odd.cfg")
    change(tmp_path, lambda store: store.hold(HOLD._replace(domain=odd.key, name=odd.name)))
    assert load_intents(tmp_path).hold_of(odd) is not None


def test_what_has_not_changed_is_not_read_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run asks before each create."""
    store, other = IntentStore(state, CLOCK), IntentStore(state, CLOCK)
    assert store.read() == SAID
    with monkeypatch.context() as patch:
        patch.setattr("lamplighter.host.journal.intents.load_intents", None)
        assert store.read() is store.read()
    virtual.run(other.hold(HOLD._replace(domain="web", name="web")))
    assert set(store.read().holds) == {"db", "web"}


def test_many_that_come_together_are_written_once(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds every domain: written again for each of a thousand it took most of a stop."""
    written: list[Path] = []
    really = intent_file.write_whole

    def count(path: Path, content: bytes, mode: int) -> None:
        written.append(path)
        really(path, content, mode)

    monkeypatch.setattr(intent_file, "write_whole", count)
    many = [MEANT._replace(domain=f"d{number}") for number in range(50)]
    change(state, lambda store: store.intend(*many), lambda store: store.intend())
    assert len(written) == 1
    change(state, lambda store: store.intend(*many))
    assert len(written) == 1, "nothing of it was new"


# --- two at one moment -----------------------------------------------------------------------


def test_two_at_one_moment_lose_nothing_of_each_other(tmp_path: Path) -> None:
    async def story() -> None:
        stores = [IntentStore(tmp_path, LoopClock()) for _ in range(4)]
        holds = [HOLD._replace(domain=f"d{number}") for number in range(20)]
        await asyncio.gather(*(stores[n % 4].hold(one) for n, one in enumerate(holds)))

    asyncio.run(story())
    known = load_intents(tmp_path)
    assert len(known.holds) == 20
    assert known.number == 20


def test_one_that_holds_the_lock_for_ever_is_not_waited_for(state: Path) -> None:
    with (
        hold(state / LOCK),
        pytest.raises(JournalError, match="another process changes intents and holds") as caught,
    ):
        change(state, lambda store: store.hold(HOLD))
    assert caught.value.hint == f"fuser -v {state / LOCK}"


# --- what earlier versions wrote -------------------------------------------------------------


def version_1(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / JOURNAL, isolation_level=None)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    return connection


def test_what_version_1_kept_as_intent_is_read_and_carried_over(tmp_path: Path) -> None:
    connection = version_1(tmp_path)
    for domain, wanted in ((str(WEB), "held"), ("db", "up"), ("mail", "down")):
        connection.execute(
            "INSERT INTO intent VALUES (?, ?, 'why', 'anna', ?)", (domain, wanted, AT.isoformat())
        )
    connection.close()
    read = load_intents(tmp_path)
    assert read.holds == {str(WEB): Hold(str(WEB), str(WEB), "why", "anna", AT)}
    assert {key: one.meant for key, one in read.meant.items()} == {
        "db": Meant.UP,
        "mail": Meant.DOWN,
    }
    with pytest.raises(JournalError, match="have not been carried over"):
        Journal.open(tmp_path)
    change(tmp_path, lambda store: store.settle())
    Journal.open(tmp_path, threaded=False)
    assert load_intents(tmp_path) == read._replace(number=1)
