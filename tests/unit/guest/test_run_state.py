"""What an agent took, kept for the agent that follows it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from lamplighter.errors import XenStoreUnreachable
from lamplighter.formats.agent_protocol import DeadlineNote
from lamplighter.guest.config import Config, Paths
from lamplighter.guest.daemon import SHUTDOWN, Daemon
from lamplighter.guest.events import Event, RequestSeen, Settings, Tick
from lamplighter.guest.run_state import BOOT_ID, BootNotes, RequestRecord
from tests.agent import Notes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("boot", ["0", "1"])
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("poweroff taken", ("poweroff", True)),
        ("reboot", ("reboot", False)),
        ("suspend taken", ("", False)),
        ("", ("", False)),
    ],
)
def test_what_was_taken_is_found_by_the_next_agent_of_this_boot(
    tmp_path: Path, boot: str, line: str, found: tuple[str, bool]
) -> None:
    def notebook(boot: str) -> BootNotes:
        (tmp_path / BOOT_ID).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / BOOT_ID).write_text(f"{boot}\n")
        return BootNotes(str(tmp_path / "taken"), str(tmp_path), Notes())

    notebook("0").add("halt")
    notebook("0").add(line)
    assert RequestRecord(notebook(boot)).find() == (found if boot == "0" else ("", False))


class Small:
    """A daemon that is handed its events, at a XenStore that does what it is told."""

    def __init__(self, folder: Path) -> None:
        places = Paths(etc=str(folder), run=str(folder), xenstore=str(folder / "none"))
        choices = Config(Settings(deadline=inf))
        self.power = Mock()
        self.daemon = Daemon(places, choices, self.power, Mock(), Notes())
        self.bus = Mock()
        self.taken = folder / "taken"
        self.seen: list[str] = []

    def hears(self, *events: Event) -> None:
        self.daemon._bus = self.bus
        self.daemon._events.extend(events)
        self.daemon._settle()

    def clears(self, path: str, value: bytes) -> bool:
        """Clear the node; what is kept by then is seen."""
        assert (path, value) == (SHUTDOWN, b"poweroff")
        self.seen.append(self.taken.read_text().splitlines()[-1])
        return True


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def test_a_request_is_noted_before_it_is_taken_and_until_it_is_begun(small: Small) -> None:
    small.bus.clear_if.side_effect = small.clears
    small.power.shut_down.side_effect = lambda *_: small.seen.append(small.taken.read_text())
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert small.seen[0] == "poweroff"
    assert small.seen[1].endswith("\npoweroff taken\n"), "and while it is begun"
    assert not small.taken.exists()


def test_a_request_that_somebody_else_took_is_not_kept(small: Small) -> None:
    small.bus.clear_if.return_value = False
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert not small.taken.exists()
    assert not small.power.shut_down.called


def test_a_shutdown_that_could_not_be_begun_is_kept_and_begun_again(small: Small) -> None:
    small.bus.clear_if.return_value = True
    small.power.shut_down.side_effect = [77, OSError(2, "there is none"), 78]
    small.hears(RequestSeen(0.0, b"poweroff"), Tick(2.0))
    assert not small.taken.exists()
    small.daemon._child_ended(77, 1, 3.0)
    small.hears()
    assert small.taken.read_text().endswith("\npoweroff taken\n")
    small.hears(Tick(8.0))
    assert small.taken.exists()
    small.hears(Tick(inf))
    assert not small.taken.exists()
    assert small.power.shut_down.call_count == 3
    small.daemon._child_ended(78, 0, 20.0)
    small.hears()
    assert not small.taken.exists()


@pytest.mark.parametrize("killed", [True, False])
def test_a_reply_that_was_lost_is_made_up_for_by_the_note(
    tmp_path: Path, small: Small, *, killed: bool
) -> None:
    small.bus.clear_if.side_effect = XenStoreUnreachable("it went")
    small.hears(RequestSeen(0.0, b"poweroff", DeadlineNote("poweroff", 60)), Tick(2.0))
    assert small.taken.read_text().endswith("\npoweroff\n")
    follower = Small(tmp_path) if killed else small
    follower.hears(RequestSeen(3.0, b"", DeadlineNote("poweroff", 60)))
    follower.power.shut_down.assert_called_once_with("poweroff", follower.daemon._children)
    assert not small.taken.exists()
