from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import ConfigurationError
from lamplighter.host.files.installing import Change, install_file, place_folder

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_created_with_its_folders_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "systemd" / "x.service"
    before = os.umask(0o077)
    try:
        assert install_file(path, b"[Unit]\n").how is Change.CREATED
    finally:
        os.umask(before)
    assert path.read_bytes() == b"[Unit]\n"
    assert (mode(path), mode(path.parent), mode(tmp_path / "etc")) == (0o644, 0o755, 0o755)


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    install_file(path, b"one")
    before = path.stat()
    assert install_file(path, b"one").how is Change.UNCHANGED
    after = path.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_other_content_or_another_mode_is_put_right_and_nothing_is_left_beside(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    assert install_file(path, b"new").how is Change.UPDATED
    path.chmod(0o600)
    assert install_file(path, b"new").how is Change.UPDATED
    assert (path.read_bytes(), mode(path)) == (b"new", 0o644)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", ["a file", "a dangling link"])
def test_what_is_the_administrators_is_kept(tmp_path: Path, there: str) -> None:
    path = tmp_path / "x.toml"
    if there == "a file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert install_file(path, b"default", keep=True).how is Change.KEPT
    assert path.is_symlink() or path.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("target", "told"),
    [("/dev/null", "systemctl unmask x.service"), ("elsewhere", "it is a link to elsewhere")],
)
def test_a_link_is_not_replaced(tmp_path: Path, target: str, told: str) -> None:
    path = tmp_path / "x.service"
    path.symlink_to(target)
    with pytest.raises(ConfigurationError) as caught:
        install_file(path, b"[Unit]\n")
    assert told in str(caught.value)
    assert str(path.readlink()) == target


@pytest.mark.parametrize("way", ["a folder is there", "a file is on the way"])
def test_what_cannot_be_done_is_reported(tmp_path: Path, way: str) -> None:
    path = tmp_path / "etc" / "x"
    if way == "a folder is there":
        path.mkdir(parents=True)
    else:
        path.parent.write_text("")
    with pytest.raises(ConfigurationError, match="it cannot be installed") as caught:
        install_file(path, b"")
    assert caught.value.where == str(path)


def test_a_folder_gets_its_mode_and_then_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "state"
    assert place_folder(path, 0o700).how is Change.CREATED
    assert (mode(path), mode(path.parent)) == (0o700, 0o755)
    assert place_folder(path, 0o700).how is Change.UNCHANGED
    path.chmod(0o755)
    assert place_folder(path, 0o700).how is Change.UPDATED
    assert mode(path) == 0o700


def test_a_file_where_a_folder_should_be_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigurationError, match="File exists"):
        place_folder(tmp_path / "state", 0o700)
