"""Where intents and holds cannot be kept, read or believed, nobody takes them for none."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import pytest

from lamplighter.errors import JournalError
from lamplighter.formats.state_json import format_intents, parse_intents
from lamplighter.host.files import mounts
from lamplighter.host.journal import database, intent_file, intents
from lamplighter.host.journal.intent_file import BEFORE, FILE_NAME, LOCK, TRACE
from lamplighter.host.journal.intents import IntentStore, IntentsUnknown, load_intents
from lamplighter.host.journal.schema import FILE_NAME as JOURNAL
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Intents
from lamplighter.model.run import Direction
from tests import virtual
from tests.intents import AT, HOLD, MEANT, RELEASED, SAID, begin_run, change
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


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


@pytest.mark.parametrize(
    "fstab",
    [
        "/dev/vg/state {} ext4 defaults 0 2",
        "# none\n\n",
        "/dev/vg/state {} ext4 nofail,noauto 0 2 # by hand",
    ],
)
@pytest.mark.parametrize("found", ["nothing", "an old file"])
def test_a_file_system_that_is_not_mounted_is_not_a_first_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fstab: str, found: str
) -> None:
    point = tmp_path / "a disk ä"
    state = point / "state"
    if found == "an old file":
        change(state, lambda store: store.settle())
    escaped = str(point).replace(" ", r"\040").replace("ä", r"\303\244")
    (tmp_path / "fstab").write_text(f"/dev/root / ext4 rw 0 1\n{fstab.format(escaped)}\n")
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
    assert not state.exists() or found == "an old file", "nothing is written there"
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
    assert load_intents(tmp_path / "another", run=run) == Intents(), "a folder never used before"
    shutil.rmtree(state)
    assert load_intents(state) == Intents(), "the run directory alone tells"
    store = IntentStore(state, CLOCK, run=run)
    assert "is gone" in store.read().error
    with pytest.raises(JournalError, match="is gone"):
        virtual.run(store.settle())
    virtual.run(store.begin_again())
    assert store.read() == Intents(number=1)


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_disk_that_fails_is_an_answer_and_not_an_accident(
    state: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    begin_run(state)

    def broken(*_: object, **__: object) -> NoReturn:
        raise OSError(error, os.strerror(error))

    for call in ("open", "stat", "lstat", "readlink", "listdir", "scandir"):
        monkeypatch.setattr(os, call, broken)
    store = IntentStore(state, CLOCK, run=state / "run")
    with pytest.raises(IntentsUnknown, match=os.strerror(error)):
        load_intents(state, run=state / "run")
    assert os.strerror(error) in store.read().error
    monkeypatch.undo()
    assert not store.read().error


@pytest.mark.parametrize("version", [1, 2])
def test_tables_with_a_row_that_cannot_be_read_keep_nobody_from_deciding(
    tmp_path: Path, version: int
) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.executescript((RELEASED / f"v{version}.sql").read_text(encoding="utf-8"))
        connection.execute("UPDATE intent SET at = 'yesterday'")
        connection.commit()
    store = IntentStore(tmp_path, CLOCK)
    with pytest.raises(JournalError, match="cannot be read"):
        virtual.run(store.settle())
    virtual.run(store.begin_again())
    assert store.read().holds == {}
    database.open_writer(tmp_path).close()
    assert load_intents(tmp_path).holds == {}


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
