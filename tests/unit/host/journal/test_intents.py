"""Intents and holds decide what is started: they are kept whole, or are not known."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import format_intents, parse_intents
from lamplighter.host.clock import LoopClock
from lamplighter.host.files import mounts
from lamplighter.host.journal import intent_file, intents
from lamplighter.host.journal.intent_file import BEFORE, FILE_NAME, LOCK, TRACE
from lamplighter.host.journal.intents import IntentStore, IntentsUnknown, load_intents
from lamplighter.host.journal.schema import APPLICATION_ID, MIGRATIONS
from lamplighter.host.journal.schema import FILE_NAME as JOURNAL
from lamplighter.host.journal.writer import Journal
from lamplighter.host.lock import hold
from lamplighter.model.domain import Definition, Kind
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.run import Direction
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WEB = UUID(int=1)
HOLD = Hold("db", "db", "disk 3 is broken", "carl", AT)
MEANT = Intent("web", "web", Meant.UP, "asked", "anna", AT, "boot", 4)
SAID = Intents({"web": MEANT}, {"db": HOLD}, number=2)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def change(directory: Path, *changes: Callable[[IntentStore], Awaitable[object]]) -> None:
    async def main() -> None:
        store = IntentStore(directory, CLOCK)
        for one in changes:
            await one(store)

    virtual.run(main())


def begin_run(directory: Path, number: int | None = None) -> None:
    """Have a run that goes by the intents as they are now, or by those of this number."""
    number = load_intents(directory).number if number is None else number

    async def main() -> None:
        journal = Journal.open(directory, threaded=False)
        await journal.begin(Direction.UP, "boot", AT, number)
        await journal.close()

    virtual.run(main())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    change(tmp_path, lambda store: store.intend(MEANT), lambda store: store.hold(HOLD))
    assert load_intents(tmp_path) == SAID
    return tmp_path


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


# --- what cannot be kept, read or believed ---------------------------------------------------


def test_what_cannot_be_written_is_not_in_force(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(intent_file, "write_whole", full)
    with pytest.raises(JournalError, match=r"cannot be written to .*intent\.json: No space"):
        change(state, lambda store: store.hold(HOLD._replace(domain="web")))
    for _ in range(3):
        with pytest.raises(JournalError, match="No space"):
            change(state, lambda store: store.release("db"))
    monkeypatch.undo()
    assert load_intents(state) == SAID
    assert IntentStore(state, CLOCK).read() == SAID
    assert {path.name for path in state.iterdir()} == {FILE_NAME, BEFORE, LOCK}
    assert intents_before(state) == Intents({"web": MEANT}, number=1)
    change(state, lambda store: store.release("db"))
    assert intents_before(state) == SAID


def intents_before(state: Path) -> Intents:
    return parse_intents((state / BEFORE).read_text())


NEWER = b'{"version": 9}'
TORN = [b"", b"{", b'{"version": 2', b"\xff\xfe", b"[" * 100_000, b"null"]


def test_a_file_of_a_newer_version_is_not_known(state: Path) -> None:
    (state / FILE_NAME).write_bytes(NEWER)
    with pytest.raises(JournalError, match="was written by a newer Lamplighter"):
        load_intents(state)


@pytest.mark.parametrize("text", TORN)
def test_a_torn_file_is_not_known_and_never_not_held(state: Path, text: bytes) -> None:
    (state / FILE_NAME).write_bytes(text)
    with pytest.raises(JournalError, match=r"cannot be read from .*intent\.json") as caught:
        load_intents(state)
    assert f"cp {state / BEFORE} {state / FILE_NAME}" in caught.value.hint
    assert "cannot be read" in IntentStore(state, CLOCK).read().error
    for one in (
        lambda store: store.hold(HOLD._replace(domain="web")),
        lambda store: store.release("db"),
        lambda store: store.settle(),
    ):
        with pytest.raises(JournalError, match="cannot be read"):
            change(state, one)
    assert (state / FILE_NAME).read_bytes() == text


@pytest.mark.parametrize("journal", [True, False])
def test_a_lost_file_is_not_known(state: Path, journal: bool) -> None:
    if journal:
        begin_run(state)
    (state / FILE_NAME).unlink()
    if journal:
        (state / BEFORE).unlink()
    with pytest.raises(JournalError, match=r"intent\.json is gone"):
        load_intents(state)
    with pytest.raises(JournalError, match="is gone"):
        change(state, lambda store: store.settle())


def test_a_file_from_before_the_last_run_is_not_known_until_it_is_accepted(state: Path) -> None:
    old = (state / FILE_NAME).read_bytes()
    web = HOLD._replace(domain="web", name="web")
    change(state, lambda store: store.hold(web))
    begin_run(state)
    (state / FILE_NAME).write_bytes(old)
    with pytest.raises(JournalError, match="is older than the journal has seen") as caught:
        load_intents(state)
    assert "release --accept" in caught.value.hint
    with pytest.raises(JournalError, match="is older"):
        change(state, lambda store: store.hold(web))
    begin_run(state, 0)  # a run that did not know of any
    with pytest.raises(JournalError, match="is older"):
        load_intents(state)
    change(state, lambda store: store.accept())
    assert load_intents(state) == SAID._replace(number=4)


def test_nothing_that_a_newer_version_wrote_is_overwritten(state: Path) -> None:
    (state / FILE_NAME).write_bytes(NEWER)
    for one in (lambda store: store.begin_again(), lambda store: store.accept()):
        with pytest.raises(JournalError, match="was written by a newer Lamplighter"):
            change(state, one)
    assert (state / FILE_NAME).read_bytes() == NEWER


def test_a_file_that_is_not_there_cannot_be_accepted(state: Path) -> None:
    begin_run(state)
    (state / FILE_NAME).unlink()
    with pytest.raises(JournalError, match=r"there is no .*intent\.json to accept"):
        change(state, lambda store: store.accept())


@pytest.mark.parametrize("seen", ["a run", "a hold"])
def test_the_highest_number_that_was_seen_is_kept(state: Path, seen: str) -> None:
    """Whatever becomes of the runs, and also where no run has come since a domain was held."""
    old = (state / FILE_NAME).read_bytes()
    web = HOLD._replace(domain="web", name="web")
    change(state, lambda store: store.hold(web))
    number = load_intents(state).number

    async def main() -> None:
        journal = Journal.open(state, threaded=False)
        if seen == "a hold":
            await journal.record_holds(web, intents=number)
        else:
            for boot, at in (("boot", number), ("later", 0)):
                run = await journal.begin(Direction.UP, boot, AT, at)
                await journal.finish(run, AT, 0)
            await journal.tidy(AT.replace(year=2030))
        await journal.close()

    virtual.run(main())
    (state / FILE_NAME).write_bytes(old)
    with pytest.raises(JournalError, match="is older than the journal has seen"):
        load_intents(state)


def test_a_document_of_an_earlier_version_beside_a_newer_journal_is_old(state: Path) -> None:
    begin_run(state, 0)
    earlier = format_intents(Intents({"web": MEANT})).replace('"version": 2', '"version": 1')
    (state / FILE_NAME).write_text(earlier)
    with pytest.raises(JournalError, match="is older"):
        load_intents(state)


@pytest.mark.parametrize("number", [0, -1, 1 << 63, True, "7"])
def test_a_number_that_cannot_be_is_no_number(state: Path, number: object) -> None:
    document = json.loads((state / FILE_NAME).read_text()) | {"number": number}
    (state / FILE_NAME).write_text(json.dumps(document))
    with pytest.raises(JournalError, match="number is"):
        load_intents(state)


@pytest.mark.parametrize("key", ["holds", "name"])
def test_a_key_that_is_there_twice_is_as_a_torn_file(state: Path, key: str) -> None:
    """JSON's reader would take the last one, such as an empty list of holds."""
    text = (state / FILE_NAME).read_text()
    where = text.rindex(f'"{key}":')
    (state / FILE_NAME).write_text(f'{text[:where]}"{key}": [], {text[where:]}')
    with pytest.raises(IntentsUnknown, match=rf"cannot be read .*{key} is there twice"):
        load_intents(state)


def test_what_can_be_read_of_holds_keeps_them(state: Path) -> None:
    change(state, lambda store: store.hold(HOLD._replace(domain="web", name="web")))
    (state / FILE_NAME).write_text("{")
    with pytest.raises(IntentsUnknown) as caught:
        load_intents(state)
    assert set(caught.value.holds) == {"db"}, "as the file before the last change says"
    known = IntentStore(state, CLOCK).read()
    assert known.error
    assert set(known.holds) == {"db"}


def test_one_error_that_passes_is_not_remembered(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = IntentStore(state, CLOCK)

    def fails(_: Path) -> Intents:
        raise JournalError("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(intents, "load", fails)
        assert "too many" in store.read().error
    assert store.read() == SAID


def test_what_is_in_the_place_of_the_file_is_not_waited_for_or_followed_into_nothing(
    state: Path,
) -> None:
    path = state / FILE_NAME
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(JournalError, match="it is not a file"):
        load_intents(state)
    gone = state / "folder"
    gone.symlink_to(state / "not-mounted")
    with pytest.raises(JournalError, match="a link to nothing"):
        load_intents(gone)


@pytest.mark.parametrize("dangles", [True, False])
def test_a_link_is_neither_followed_nor_replaced(state: Path, dangles: bool) -> None:
    """Replacing the file would replace the link, and leave what it led to as it was."""
    path = state / FILE_NAME
    target = path.rename(state / "elsewhere")
    if dangles:
        target.unlink()
    path.symlink_to(target)
    with pytest.raises(JournalError, match=rf"it is a link to {target}") as caught:
        load_intents(state)
    assert "[host] state" in caught.value.hint
    for one in (
        lambda store: store.hold(HOLD),
        lambda store: store.accept(),
        lambda store: store.begin_again(),
    ):
        with pytest.raises(JournalError, match="it is a link to"):
            change(state, one)
    assert path.is_symlink()


@pytest.mark.parametrize("where", ["the file", "the folder", "above it"])
@pytest.mark.parametrize("how", [pytest.param("owner", marks=as_root), "mode"])
def test_what_somebody_else_could_write_is_not_believed(
    tmp_path: Path, where: str, how: str
) -> None:
    state = tmp_path / "above" / "state"
    change(state, lambda store: store.hold(HOLD))
    loose = {"the file": state / FILE_NAME, "the folder": state, "above it": state.parent}[where]
    if how == "owner":
        os.chown(loose, 4711, -1)
    else:
        loose.chmod(loose.stat().st_mode | 0o002)
    reason = "belongs to uid 4711" if how == "owner" else "can be written by everybody"
    with pytest.raises(IntentsUnknown, match=f"are not believed: {loose} {reason}") as caught:
        load_intents(state)
    assert caught.value.hint.startswith("chown root" if how == "owner" else "chmod o-w")
    assert set(caught.value.holds) == {"db"}, "what is held stays down all the same"
    with pytest.raises(JournalError, match="are not believed"):
        change(state, lambda store: store.release("db"))
    if where != "the file":
        (state / FILE_NAME).unlink()
        for one in (lambda store: store.settle(), lambda store: store.begin_again()):
            with pytest.raises(JournalError, match="are not believed"):
                change(state, one)
        return
    change(state, lambda store: store.begin_again())
    assert load_intents(state).holds == {}
    assert loose.stat().st_uid == os.getuid()


@pytest.mark.parametrize("fstab", ["/dev/vg/state {} ext4 defaults 0 2", "# none\n\n"])
@pytest.mark.parametrize("found", ["nothing", "an old file"])
def test_a_file_system_that_is_not_mounted_is_not_a_first_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fstab: str, found: str
) -> None:
    point = tmp_path / "a disk"
    state = point / "state"
    if found == "an old file":
        change(state, lambda store: store.settle())
    (tmp_path / "fstab").write_text(fstab.format(str(point).replace(" ", r"\040")) + "\n")
    monkeypatch.setattr(mounts, "FSTAB", tmp_path / "fstab")
    monkeypatch.setattr(mounts, "MOUNTED", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text("24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n")
    if "#" in fstab:
        assert load_intents(state).holds == {}
        return
    with pytest.raises(IntentsUnknown, match=f"nothing is mounted on {point}"):
        load_intents(state)
    for one in (lambda store: store.hold(HOLD), lambda store: store.begin_again()):
        with pytest.raises(JournalError, match="nothing is mounted"):
            change(state, one)
    escaped = str(point).replace(" ", r"\040")
    (tmp_path / "mountinfo").write_text(f"25 24 8:2 / {escaped} rw - ext4 /dev/sdb1 rw\n")
    change(state, lambda store: store.hold(HOLD))
    assert set(load_intents(state).holds) == {"db"}


def test_a_record_that_this_boot_had_is_gone_and_not_a_first_start(tmp_path: Path) -> None:
    """The folder was removed, or its file system is not mounted any more."""
    state, run = tmp_path / "state", tmp_path / "run"
    run.mkdir()
    virtual.run(IntentStore(state, CLOCK, run=run).settle())
    (run / TRACE).unlink()
    virtual.run(IntentStore(state, CLOCK, run=run).settle())  # the next boot, with nothing new
    shutil.rmtree(state)
    assert load_intents(state) == Intents(), "the run directory alone tells"
    store = IntentStore(state, CLOCK, run=run)
    assert "is gone" in store.read().error
    with pytest.raises(JournalError, match="is gone"):
        virtual.run(store.settle())
    virtual.run(store.begin_again())
    assert store.read() == Intents(number=1)


@pytest.mark.parametrize("text", [None, *TORN])
def test_a_person_may_say_that_none_is_held(state: Path, text: bytes | None) -> None:
    begin_run(state)
    if text is None:
        (state / FILE_NAME).unlink()
    else:
        (state / FILE_NAME).write_bytes(text)
    change(state, lambda store: store.begin_again())
    assert load_intents(state) == Intents(number=3)


def test_none_is_held_and_intents_stay_where_they_can_be_read(state: Path) -> None:
    change(state, lambda store: store.begin_again())
    assert load_intents(state) == Intents({"web": MEANT}, number=3)


def test_what_is_written_while_it_is_read_is_not_called_old_or_gone(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begins between a reader's two reads: the journal is read first, the file is newer."""
    begin_run(state)
    really = intents.load
    web = HOLD._replace(domain="web", name="web")

    def load_late(directory: Path) -> Intents | None:
        monkeypatch.setattr(intents, "load", really)
        change(directory, lambda store: store.hold(web))
        begin_run(directory)
        return really(directory)

    monkeypatch.setattr(intents, "load", load_late)
    assert set(load_intents(state).holds) == {"db", "web"}


def test_a_journal_of_a_newer_version_may_know_more(state: Path) -> None:
    begin_run(state)
    with closing(sqlite3.connect(state / JOURNAL)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="was written by a newer Lamplighter"):
        load_intents(state)


def test_a_damaged_journal_costs_no_intent(state: Path) -> None:
    begin_run(state)
    (state / JOURNAL).write_bytes(b"this is not a database" * 400)
    assert load_intents(state) == SAID


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
