"""Reading the configuration and the definitions, whatever lies in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import ConfigurationError
from lamplighter.host.files import reading
from lamplighter.host.files.reading import folder_problem, read_configuration, read_definitions
from lamplighter.model.policy import Configuration, Setting
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from lamplighter.host.files.reading import Text

ME = os.geteuid()
ORIGIN = Location("/etc/lamplighter/lamplighter.toml", 2, 1)

not_as_root = pytest.mark.skipif(ME == 0, reason="root may read and write everything")


def write(path: Path, text: str = 'name = "web"\n') -> Path:
    path.write_text(text)
    return path


def read(*patterns: Path | str, origin: Location = ORIGIN) -> tuple[list[Text], list[Problem]]:
    return read_definitions(Setting(tuple(str(p) for p in patterns), origin), ME)


def only_problem(*patterns: Path | str) -> Problem:
    texts, problems = read(*patterns)
    assert texts == []
    (problem,) = problems
    assert problem.domain is None
    assert problem.fatal
    return problem


class TestConfiguration:
    def test_is_read(self, tmp_path: Path) -> None:
        path = write(tmp_path / "l.toml", '[host]\nstate = "s"\n')
        read = read_configuration(path, required=True)
        assert read.file == str(path)
        assert read.host.state.value == str(tmp_path / "s")

    def test_missing_counts_as_empty_unless_it_was_named(self, tmp_path: Path) -> None:
        path = tmp_path / "l.toml"
        assert read_configuration(path, required=False) == Configuration(str(path))
        with pytest.raises(ConfigurationError, match="does not exist"):
            read_configuration(path, required=True)

    def test_a_relative_path_is_made_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "l.toml", '[host]\nrun = "run"\n')
        monkeypatch.chdir(tmp_path)
        assert read_configuration(Path("l.toml"), required=True).host.run.value == str(
            tmp_path / "run"
        )

    @pytest.mark.parametrize("required", [True, False])
    def test_a_dangling_link_is_reported_even_if_nobody_named_it(
        self, tmp_path: Path, *, required: bool
    ) -> None:
        path = tmp_path / "l.toml"
        path.symlink_to("nowhere")
        with pytest.raises(ConfigurationError, match="is a link to nowhere, which does not exist"):
            read_configuration(path, required=required)

    def test_that_cannot_be_seen_is_not_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def hidden(self: Path) -> object:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "lstat", hidden)
        with pytest.raises(ConfigurationError, match="does not exist"):
            read_configuration(tmp_path / "l.toml", required=False)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="is a folder, not a file"):
            read_configuration(tmp_path, required=False)

    def test_bytes_that_are_no_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "l.toml"
        path.write_bytes(b"# gr\xc3\xbc\xc3\x9fe\n[host]\nstate = 'gr\xfc\xdfe'\n")
        with pytest.raises(ConfigurationError) as caught:
            read_configuration(path, required=True)
        assert (caught.value.line, caught.value.problem) == (3, "bytes that are not UTF-8")

    def test_that_others_can_write_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "l.toml", "")
        path.chmod(0o666)
        with pytest.raises(ConfigurationError) as caught:
            read_configuration(path, required=True)
        assert "can be written by everybody" in caught.value.problem
        assert caught.value.hint == f"chmod o-w {path}"

    def test_a_mistake_has_its_line(self, tmp_path: Path) -> None:
        path = write(tmp_path / "l.toml", "[hots]\n")
        with pytest.raises(ConfigurationError, match=f"^{path}:1:2: there is no key"):
            read_configuration(path, required=True)


class TestDefinitions:
    def test_are_read_in_order_without_hidden_ones(self, folder: Path) -> None:
        for name in ("b.cfg", "a.cfg", ".c.cfg", "d.cfg~"):
            write(folder / name, name)
        texts, problems = read(folder / "*.cfg")
        assert [(text.path, text.text) for text in texts] == [
            (str(folder / "a.cfg"), "a.cfg"),
            (str(folder / "b.cfg"), "b.cfg"),
        ]
        assert problems == []
        assert [text.distrust for text in texts] == [None, None]

    def test_hidden_ones_can_be_named(self, folder: Path) -> None:
        write(folder / ".c.cfg")
        assert len(read(folder / ".*.cfg")[0]) == 1

    def test_a_plain_path_and_folders_by_pattern(self, tmp_path: Path) -> None:
        for name in ("x1", "x2", "y"):
            (tmp_path / name).mkdir()
            write(tmp_path / name / "a.cfg")
        write(tmp_path / "x3")
        (tmp_path / "x4").symlink_to("nowhere")
        (tmp_path / "x5").symlink_to("x5")
        texts, problems = read(tmp_path / "x*" / "*.cfg", tmp_path / "y" / "a.cfg")
        assert [Path(text.path).parent.name for text in texts] == ["x1", "x2", "y"]
        assert problems == []

    def test_a_folder_with_magic_in_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "[a]*").mkdir()
        write(tmp_path / "[a]*" / "a.cfg")
        texts, problems = read(f"{tmp_path}/[[]a][*]/*.cfg", f"{tmp_path}/[[]a][*]/a.cfg")
        assert (len(texts), problems) == (1, [])

    def test_one_file_found_twice_is_one(self, folder: Path) -> None:
        path = write(folder / "a.cfg")
        (folder / "auto").mkdir()
        (folder / "auto" / "link.cfg").symlink_to(path)
        (folder / "auto" / "hard.cfg").hardlink_to(path)
        texts, problems = read(folder / "*.cfg", folder / "*" / "*.cfg", folder / "a.cfg")
        assert [text.path for text in texts] == [str(path)]
        assert problems == []

    def test_a_trustworthy_way_to_a_file_is_preferred(self, folder: Path, tmp_path: Path) -> None:
        path = write(folder / "a.cfg")
        shared = tmp_path / "shared"
        shared.mkdir()
        (shared / "a.cfg").symlink_to(path)
        shared.chmod(0o777)
        for patterns in ((folder, shared), (shared, folder)):
            texts, problems = read(*(pattern / "*.cfg" for pattern in patterns))
            assert [(text.path, text.distrust) for text in texts] == [(str(path), None)]
            assert problems == []

    def test_odd_bytes_are_kept(self, folder: Path) -> None:
        (folder / "a.cfg").write_bytes(b"\xff\r\n\0")
        assert read(folder / "a.cfg")[0][0].text == "\udcff\r\n\0"

    def test_a_distrusted_one_is_read_and_marked(self, folder: Path) -> None:
        write(folder / "a.cfg").chmod(0o602)
        ((text,), problems) = read(folder / "*.cfg")
        assert text.distrust is not None
        assert problems == []

    def test_a_folder(self, folder: Path) -> None:
        (folder / "a.cfg").mkdir()
        problem = only_problem(folder / "*.cfg")
        assert (problem.code, problem.message) == ("not-a-file", "is a folder, not a file")
        assert str(problem.where) == str(folder / "a.cfg")

    def test_a_pipe_a_socket_and_a_device(self, folder: Path) -> None:
        os.mkfifo(folder / "a.cfg")
        os.mknod(folder / "b.cfg", stat.S_IFSOCK | 0o600)
        (folder / "c.cfg").symlink_to("/dev/zero")
        texts, problems = read(folder / "*.cfg")
        assert texts == []
        assert [problem.message for problem in problems] == [
            "is a named pipe, not a file",
            "is a socket, not a file",
            "is a device, not a file",
        ]

    def test_a_dangling_link_and_a_loop(self, folder: Path) -> None:
        (folder / "a.cfg").symlink_to("../nowhere")
        (folder / "b.cfg").symlink_to("b.cfg")
        texts, problems = read(folder / "*.cfg")
        assert texts == []
        assert [(problem.code, problem.message) for problem in problems] == [
            ("missing", "is a link to ../nowhere, which does not exist"),
            ("missing", "is a link that leads back to itself"),
        ]

    def test_one_that_is_too_large(self, folder: Path) -> None:
        write(folder / "a.cfg", "#" * reading.LARGEST)
        write(folder / "b.cfg", "#" * (reading.LARGEST + 1))
        texts, (problem,) = read(folder / "*.cfg")
        assert [len(text.text) for text in texts] == [reading.LARGEST]
        assert (problem.code, problem.message) == ("too-large", "is larger than 1MiB")

    def test_one_that_vanishes_while_it_is_read(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder / "a.cfg")
        gone = folder / "b.cfg"
        monkeypatch.setattr(reading, "matches", lambda pattern, origin: ([gone], []))
        assert only_problem("/anything").message == "does not exist"

    @not_as_root
    def test_one_that_may_not_be_read(self, folder: Path) -> None:
        write(folder / "a.cfg").chmod(0)
        problem = only_problem(folder / "a.cfg")
        assert (problem.code, problem.message) == (
            "unreadable",
            "cannot be read: Permission denied",
        )
        assert problem.hint == "run it as root"

    @not_as_root
    def test_a_folder_that_may_not_be_listed(self, folder: Path) -> None:
        folder.chmod(0o100)
        problem = only_problem(folder / "*.cfg")
        folder.chmod(0o700)
        assert (problem.code, str(problem.where)) == ("unreadable", str(folder))

    def test_an_input_output_error(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(folder / "a.cfg")

        def broken(*_: object) -> object:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(reading, "Walk", broken)
        assert only_problem(folder / "a.cfg").message == "cannot be read: Input/output error"

    def test_a_folder_that_cannot_be_listed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: Path) -> object:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", broken)
        problem = only_problem(folder / "*.cfg")
        assert problem.message == "the folder cannot be read: Permission denied"

    def test_a_folder_that_is_not_there(self, folder: Path) -> None:
        problem = only_problem(folder / "no" / "*.cfg")
        assert (problem.code, problem.where) == ("missing", ORIGIN)
        assert f"there is no folder {folder}/no" in problem.message
        assert read(folder / "no" / "*.cfg", origin=BUILT_IN) == ([], [])

    def test_a_file_in_place_of_the_folder(self, folder: Path) -> None:
        problem = only_problem(write(folder / "a.cfg") / "*.cfg")
        assert problem.message == "the folder cannot be read: Not a directory"

    @pytest.mark.parametrize("path", ["/", "/no-such.cfg"])
    def test_a_plain_path_that_is_not_there(self, path: str) -> None:
        problem = only_problem(path)
        assert problem.code == "missing"
        assert f"there is no file {path}" in problem.message

    def test_a_pattern_that_matches_nothing_is_fine(self, folder: Path) -> None:
        assert read(folder / "*.cfg", folder / "x*" / "*.cfg") == ([], [])


class TestFolders:
    def found(self, path: Path, origin: Location = ORIGIN) -> Problem | None:
        return folder_problem(Setting(str(path), origin), {0, ME})

    def test_that_are_there_or_can_be_created(self, folder: Path) -> None:
        assert self.found(folder) is None
        assert self.found(folder / "not" / "yet") is None

    def test_that_others_can_write(self, folder: Path) -> None:
        folder.chmod(0o777)
        for path in (folder, folder / "below"):
            problem = self.found(path)
            assert problem is not None
            assert (problem.code, problem.where) == ("permissions", ORIGIN)
            assert "by everybody" in problem.message

    def test_a_file_in_its_place(self, folder: Path) -> None:
        problem = self.found(write(folder / "file"), BUILT_IN)
        assert problem is not None
        assert (problem.code, problem.where) == ("not-a-folder", Location(str(folder / "file")))

    def test_a_dangling_link_in_its_place(self, folder: Path) -> None:
        (folder / "link").symlink_to("nowhere")
        problem = self.found(folder / "link")
        assert problem is not None
        assert problem.code == "unreadable"

    @pytest.mark.parametrize("below", [False, True])
    def test_on_a_read_only_file_system(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, below: bool
    ) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: False)
        problem = self.found(folder / "state" if below else folder)
        assert problem is not None
        assert problem.code == "permissions"
        assert ("cannot be created in" if below else "cannot be written") in problem.message
