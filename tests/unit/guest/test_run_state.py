"""What an agent took, kept for the agent that follows it."""

from __future__ import annotations

import fcntl
import os
from math import inf
from pathlib import Path
from unittest.mock import Mock

import pytest

from lamplighter.errors import XenStoreUnreachable
from lamplighter.formats.agent_protocol import DeadlineNote
from lamplighter.guest.clock import now
from lamplighter.guest.config import Config, Paths
from lamplighter.guest.daemon import SHUTDOWN, Daemon
from lamplighter.guest.events import Event, RequestSeen, Settings, Tick
from lamplighter.guest.run_state import BOOT_ID, Begun, RequestRecord, RunState, RunStateFile
from tests.agent import Notes


def in_boot(folder: Path, boot: str = "0", log: Notes | None = None) -> RunStateFile:
    (folder / BOOT_ID).parent.mkdir(parents=True, exist_ok=True)
    (folder / BOOT_ID).write_text(f"{boot}\n")
    return RunStateFile(str(folder / "state"), str(folder), log or Notes())


BEGUN = {"10-a": None, "20-b": Begun(4711, 88231, 5231.25)}
FULL = RunState("poweroff", acknowledged=True, answer="k1", scripts=BEGUN)
LINES = "boot 0\nrequest poweroff taken\nanswer k1\nscript 10-a\nscript 20-b 4711 88231 5231.25\n"


@pytest.mark.parametrize(("boot", "found"), [("0", ("poweroff", True)), ("1", ("", False))])
def test_what_was_taken_is_found_by_the_next_agent_of_this_boot(
    tmp_path: Path, boot: str, found: tuple[str, bool]
) -> None:
    file = in_boot(tmp_path)
    file.update(request="halt")
    file.update(request="poweroff", acknowledged=True)
    assert RequestRecord(in_boot(tmp_path, boot)).find() == found


def test_the_file_of_another_boot_is_replaced_as_a_whole(tmp_path: Path) -> None:
    in_boot(tmp_path).update(FULL.scripts, request="poweroff", acknowledged=True, answer="k1")
    assert (tmp_path / "state").read_text() == LINES
    assert in_boot(tmp_path).read() == FULL
    later = in_boot(tmp_path, "1")
    assert later.read() == RunState()
    later.update(answer="k2")
    assert (tmp_path / "state").read_text() == "boot 1\nanswer k2\n"
    assert [path.name for path in tmp_path.glob("state*")] == ["state"]


@pytest.mark.parametrize("length", range(len(LINES)))
def test_of_a_torn_file_what_is_whole_counts(tmp_path: Path, length: int) -> None:
    file = in_boot(tmp_path)
    (tmp_path / "state").write_text(LINES[:length])
    whole = LINES[:length].count("\n")
    expected = RunState()
    if whole > 1:
        expected = expected._replace(request="poweroff", acknowledged=True)
    if whole > 2:
        expected = expected._replace(answer="k1")
    if whole > 3:
        expected = expected._replace(scripts={"10-a": None})
    assert file.read() == expected
    file.update({"30-c": None})
    assert in_boot(tmp_path).read() == expected._replace(scripts={**expected.scripts, "30-c": None})


@pytest.mark.parametrize(
    "line",
    ["", "request", "request suspend taken", "request poweroff tak", "answer", "script", "x 1"],
)
def test_a_line_of_another_form_is_ignored(tmp_path: Path, line: str) -> None:
    (tmp_path / "state").write_text(f"boot 0\n{line}\nanswer k1\n")
    assert in_boot(tmp_path).read() == RunState(answer="k1")


def test_a_file_that_cannot_be_read_is_reported_and_written_again(tmp_path: Path) -> None:
    notes = Notes()
    file = in_boot(tmp_path, log=notes)
    path = tmp_path / "state"
    path.symlink_to(path)
    assert file.read() == RunState()
    assert notes.lines == [f"{path}: Too many levels of symbolic links"]
    file.update(request="poweroff", acknowledged=True, answer="k1")
    path.unlink()
    path.symlink_to(path)
    assert file.read() == FULL._replace(scripts={}), "what this process knows"
    file.update(FULL.scripts)
    assert in_boot(tmp_path).read() == FULL


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    notes = Notes()
    file = RunStateFile(str(tmp_path / "none" / "state"), "/proc", notes)
    assert not file.update(request="poweroff")
    assert file.read() == RunState(request="poweroff"), "this process knows it"
    assert notes.lines == [f"{tmp_path}/none/state: No such file or directory"]
    (tmp_path / "none").mkdir()
    assert file.update(answer="k1")
    written = RunStateFile(str(tmp_path / "none" / "state"), "/proc", notes)
    assert written.read() == RunState(request="poweroff", answer="k1")


def test_without_room_for_a_second_file_it_is_written_in_place(tmp_path: Path) -> None:
    notes = Notes()
    file = in_boot(tmp_path, log=notes)
    file.update(FULL.scripts, request="poweroff", acknowledged=True, answer="k1")
    (tmp_path / f"state.{os.getpid()}.new").mkdir()
    file.update(request="", acknowledged=False)
    assert in_boot(tmp_path).read() == FULL._replace(request="", acknowledged=False)
    assert notes.lines == []


def test_two_processes_keep_what_the_other_one_noted(tmp_path: Path) -> None:
    daemon, hook = in_boot(tmp_path), in_boot(tmp_path)
    daemon.update(request="poweroff", acknowledged=True)
    hook.update({"10-a": None})
    daemon.update(answer="k1")
    hook.update({"20-b": Begun(4711, 88231, 5231.25)})
    assert daemon.read() == hook.read() == FULL


def test_a_lock_that_is_held_for_ever_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.guest.run_state.LOCK_TRIES", 2)
    file = in_boot(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    file.update(answer="k1")
    os.close(folder)
    assert file.read() == RunState(answer="k1")


def test_what_another_process_has_begun_to_write_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lock is not to be had in time, two may write at one moment."""
    monkeypatch.setattr("lamplighter.guest.run_state.LOCK_TRIES", 1)
    daemon, hook = in_boot(tmp_path), in_boot(tmp_path)

    def rename_while_the_hook_dies(new: str, path: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 4711)
            patch.setattr(os, "replace", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                hook.update(answer="never put in place")
        Path(new).rename(path)

    monkeypatch.setattr(os, "replace", rename_while_the_hook_dies)
    assert daemon.update(answer="k1")
    assert (tmp_path / "state").read_text() == "boot 0\nanswer k1\n"


class Small:
    """A daemon that is handed its events, at a XenStore that does what it is told."""

    def __init__(self, folder: Path) -> None:
        places = Paths(etc=str(folder), run=str(folder), xenstore=str(folder / "none"))
        choices = Config(Settings(deadline=inf))
        self.power = Mock()
        control = Mock(descriptors=tuple)
        self.daemon = Daemon(places, choices, self.power, control, Notes())
        self.bus = Mock()
        self.state = folder / "state"
        self.seen: list[str] = []

    def hears(self, *events: Event) -> None:
        self.daemon._bus = self.bus
        self.daemon._events.extend(events)
        self.daemon._settle()

    def ends(self, pid: int, code: int) -> None:
        self.daemon._children.reap = lambda: [(pid, code)]
        self.daemon._bus = None
        self.daemon._reopen = inf
        self.daemon._attend(set())
        self.daemon._children.reap = list
        self.hears()

    def request(self) -> str:
        """The request that is kept, with what is known of it."""
        lines = self.state.read_text().splitlines() if self.state.exists() else []
        return "".join(line[8:] for line in lines if line.startswith("request "))

    def clears(self, path: str, value: bytes) -> bool:
        """Clear the node; what is kept by then is seen."""
        assert (path, value) == (SHUTDOWN, b"poweroff")
        self.seen.append(self.request())
        return True


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def test_a_request_is_noted_before_it_is_taken_and_until_it_is_begun(small: Small) -> None:
    small.bus.clear_if.side_effect = small.clears
    small.power.shut_down.side_effect = lambda *_: small.seen.append(small.request())
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert small.seen[0] == "poweroff"
    assert small.seen[1] == "poweroff taken", "and while it is begun"
    assert small.request() == ""


def test_a_request_that_somebody_else_took_is_not_kept(small: Small) -> None:
    small.bus.clear_if.return_value = False
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert small.request() == ""
    assert not small.power.shut_down.called


def test_a_shutdown_that_could_not_be_begun_is_kept_and_begun_again(small: Small) -> None:
    small.bus.clear_if.return_value = True
    small.power.shut_down.side_effect = [77, OSError(2, "there is none"), 78]
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert small.request() == ""
    small.ends(77, 1)
    assert small.request() == "poweroff taken"
    small.hears(Tick(now() + 8.0))
    assert small.request() == "poweroff taken"
    small.hears(Tick(inf))
    assert small.request() == ""
    assert small.power.shut_down.call_count == 3
    small.ends(78, 0)
    assert small.request() == ""


@pytest.mark.parametrize("killed", [True, False])
def test_a_reply_that_was_lost_is_made_up_for_by_the_note(
    tmp_path: Path, small: Small, *, killed: bool
) -> None:
    small.bus.clear_if.side_effect = XenStoreUnreachable("it went")
    small.hears(RequestSeen(0.0, b"poweroff", DeadlineNote("poweroff", 60)), Tick(2.0))
    assert small.request() == "poweroff"
    follower = Small(tmp_path) if killed else small
    follower.hears(RequestSeen(3.0, b"", DeadlineNote("poweroff", 60)))
    follower.power.shut_down.assert_called_once_with("poweroff", follower.daemon._children)
    assert small.request() == ""
