"""Whether somebody else could have written a file.

These tests run as root and as anybody; what only root can arrange is skipped for the others.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from lamplighter.host.files import trust
from lamplighter.host.files.trust import Distrust, Walk, check_entry

ME = os.geteuid()
OWNERS = {0, ME}
STRANGER = 4242

as_root = pytest.mark.skipif(ME != 0, reason="only root can give files away")


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "web.cfg"
    path.write_text('name = "web"\n')
    return path


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def distrust(path: Path) -> Distrust | None:
    with Walk(path, OWNERS) as way:
        return way.distrust


def test_what_only_we_can_write_is_trusted(file: Path) -> None:
    with Walk(file, OWNERS) as way:
        assert way.distrust is None
        assert way.path == file.resolve()
        assert way.status.st_ino == file.stat().st_ino
        with os.fdopen(way.open()) as opened:
            assert opened.read() == 'name = "web"\n'


def test_a_file_that_everybody_can_write(file: Path) -> None:
    file.chmod(0o646)
    assert distrust(file) == Distrust(
        str(file.resolve()),
        "can be written by everybody (mode 0646)",
        f"chmod o-w {file.resolve()}",
    )


def test_a_folder_that_everybody_can_write(file: Path, folder: Path) -> None:
    folder.chmod(0o777)
    found = distrust(file)
    assert found is not None
    assert found.path == str(folder.resolve())
    assert "by everybody (mode 0777)" in str(found)


def test_a_folder_further_up_that_everybody_can_write(file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o703)
    found = distrust(file)
    assert found is not None
    assert found.path == str(tmp_path.resolve())


def test_a_sticky_folder_may_be_writable_by_all(file: Path, folder: Path) -> None:
    folder.chmod(0o1777)
    assert distrust(file) is None


@as_root
def test_a_strangers_file_in_a_sticky_folder(file: Path, folder: Path) -> None:
    folder.chmod(0o1777)
    os.chown(file, STRANGER, -1)
    found = distrust(file)
    assert found is not None
    assert "belongs to uid 4242, not to root" in str(found)
    assert found.hint == f"chown root {file.resolve()}"


@as_root
def test_a_strangers_folder_and_link(file: Path, folder: Path) -> None:
    link = folder / "link.cfg"
    link.symlink_to(file)
    os.lchown(link, STRANGER, -1)
    assert distrust(file) is None
    found = distrust(link)
    assert found is not None
    assert found.path == str(link)
    os.chown(folder, STRANGER, -1)
    found = distrust(file)
    assert found is not None
    assert found.path == str(folder)


@as_root
def test_the_owner_counts_beside_root(file: Path) -> None:
    os.chown(file, STRANGER, -1)
    with Walk(file, {0, STRANGER}) as way:
        assert way.distrust is None


def test_both_ways_of_a_link_count(file: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "target.cfg").write_text("")
    inside = file.parent / "inside.cfg"
    inside.symlink_to(Path("..", "shared", "target.cfg"))
    outside = shared / "outside.cfg"
    outside.symlink_to(file)
    assert distrust(inside) is None
    assert distrust(outside) is None
    shared.chmod(0o757)
    for link in (inside, outside):
        found = distrust(link)
        assert found is not None
        assert found.path == str(shared.resolve())


def test_a_link_leads_to_the_same_file(file: Path, folder: Path) -> None:
    (folder / "link").symlink_to(file.name)
    (folder / "absolute").symlink_to(file)
    for name in ("link", "absolute"):
        with Walk(folder / name, OWNERS) as way:
            assert way.status.st_ino == file.stat().st_ino
            assert way.path == file.resolve()


def test_dots_in_a_path(file: Path, folder: Path) -> None:
    with Walk(folder / "." / ".." / folder.name / file.name, OWNERS) as way:
        assert way.path == file.resolve()


def test_a_relative_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    with Walk(file.name, OWNERS) as way:
        assert way.path == file.resolve()


@pytest.mark.parametrize(
    ("target", "number"),
    [("self", errno.ELOOP), ("nowhere", errno.ENOENT), ("web.cfg/x", errno.ENOTDIR)],
)
def test_links_that_lead_nowhere(file: Path, target: str, number: int) -> None:
    link = file.parent / "self"
    link.symlink_to(target)
    before = open_descriptors()
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        Walk(link, OWNERS)
    assert caught.value.errno == number
    assert open_descriptors() == before


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with Walk(folder / "pipe", OWNERS) as way:
        assert stat.S_ISFIFO(way.status.st_mode)
        os.close(way.open())


class TestGroups:
    """A group that is only its owner's is not another person."""

    @pytest.fixture
    def status(self, file: Path) -> os.stat_result:
        file.chmod(0o664)
        return file.stat()

    def judged(self, file: Path, status: os.stat_result) -> Distrust | None:
        fd = os.open(file, os.O_RDONLY)
        try:
            return check_entry(fd, status, file, OWNERS)
        finally:
            os.close(fd)

    def arrange(self, monkeypatch: pytest.MonkeyPatch, group: str, members: list[str]) -> None:
        def getpwuid(uid: int) -> object:
            return type("User", (), {"pw_name": "carol"})

        def getgrgid(gid: int) -> object:
            return type("Group", (), {"gr_name": group, "gr_mem": members})

        monkeypatch.setattr(trust.pwd, "getpwuid", getpwuid)
        monkeypatch.setattr(trust.grp, "getgrgid", getgrgid)

    @pytest.mark.parametrize("members", [[], ["carol"]])
    def test_ones_own(
        self,
        file: Path,
        status: os.stat_result,
        members: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.arrange(monkeypatch, "carol", members)
        assert self.judged(file, status) is None

    @pytest.mark.parametrize(("group", "members"), [("staff", []), ("carol", ["carol", "dave"])])
    def test_with_others(
        self,
        file: Path,
        status: os.stat_result,
        group: str,
        members: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.arrange(monkeypatch, group, members)
        found = self.judged(file, status)
        assert found is not None
        assert found.reason == f"can be written by the group {group} (mode 0664)"

    def test_with_an_access_list(
        self, file: Path, status: os.stat_result, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.arrange(monkeypatch, "carol", [])
        monkeypatch.setattr(trust.os, "listxattr", lambda path: ["system.posix_acl_access"])
        assert self.judged(file, status) is not None

    def test_that_nobody_knows(
        self, file: Path, status: os.stat_result, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(number: int) -> object:
            raise KeyError(number)

        monkeypatch.setattr(trust.pwd, "getpwuid", unknown)
        monkeypatch.setattr(trust.grp, "getgrgid", unknown)
        found = self.judged(file, status)
        assert found is not None
        assert f"by the group gid {status.st_gid}" in found.reason
