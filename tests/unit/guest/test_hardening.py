"""The steps that make a process outlive the others, as far as files show them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamplighter.guest import hardening

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
from pathlib import Path
from lamplighter.guest.hardening import rename
rename()
print(Path("/proc/self/cmdline").read_bytes())
"""


def test_the_command_line_begins_with_an_at_sign() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert told.stdout.startswith(b"b'@lamplighter-agent guard\\x00")


def test_a_short_command_line_has_room_for_the_sign_at_least(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("1 (a) b) S " + "0 " * 44 + "100 106 0")
    (tmp_path / "mem").write_bytes(b"x" * 120)
    hardening.rename(str(tmp_path))
    assert (tmp_path / "mem").read_bytes()[100:107] == b"@lamp\0x"
    (tmp_path / "stat").write_text("1 (a) S " + "0 " * 44 + "0 0 0")
    with pytest.raises(ValueError, match="no command line"):
        hardening.rename(str(tmp_path))


def test_every_tree_of_control_groups_is_left(tmp_path: Path) -> None:
    both = [tmp_path / "unified", tmp_path / "systemd"]
    for place in both:
        place.touch()
    hardening.leave_cgroups([str(tmp_path / "none"), *map(str, both)])
    assert [place.read_bytes() for place in both] == [b"0", b"0"]
    with pytest.raises(OSError, match="no control groups"):
        hardening.leave_cgroups([str(tmp_path / "none")])
    blocked = tmp_path / "folder"
    blocked.mkdir()
    both[0].write_bytes(b"")
    with pytest.raises(OSError, match="Is a directory"):
        hardening.leave_cgroups([str(blocked), str(both[0])])
    assert both[0].read_bytes() == b"0"
