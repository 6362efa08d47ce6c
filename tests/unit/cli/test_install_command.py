from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.cli import install
from lamplighter.cli.main import execute
from lamplighter.model.problem import Problem
from lamplighter.service.installation import UNITS

if TYPE_CHECKING:
    from pathlib import Path


def lamplighter(*arguments: str, **environ: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = execute(arguments, environ, out, err)
    return status, out.getvalue(), err.getvalue()


def document(*arguments: str, **environ: str) -> dict[str, Any]:
    status, out, err = lamplighter("--json", *arguments, **environ)
    answer: dict[str, Any] = json.loads(out)
    assert (answer["exit"], err) == (status, "")
    return answer


@pytest.fixture(autouse=True)
def program(tmp_path: Path) -> Path:
    """The program, where a package has it."""
    path = tmp_path / "usr/bin/lamplighter"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    return path


def test_into_a_root_it_shows_each_file_and_then_that_nothing_changed(tmp_path: Path) -> None:
    status, out, err = lamplighter("install", "--root", str(tmp_path))
    assert (status, err) == (0, "")
    words = [line.split() for line in out.splitlines()]
    assert {how for how, _ in words} == {"created"}
    assert str(tmp_path / "usr/lib/systemd/system/lamplighter-domains.service") in out

    again = document("install", "--root", str(tmp_path))
    assert {file["how"] for file in again["files"]} == {"unchanged", "kept"}
    assert [file["path"] for file in again["files"]] == [path for _, path in words]
    assert (again["next"], again["problems"], again["enabled"]) == ([], [], False)


def test_a_root_may_be_named_from_here_and_its_folders_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pkg").mkdir()
    monkeypatch.chdir(tmp_path)
    status, _, err = lamplighter(
        *("install", "--root", "pkg", "--bindir", "/usr/local/sbin"),
        *("--unitdir", "/lib/systemd/system", "--mandir", "/usr/man"),
    )
    assert (status, err) == (0, "")
    unit = tmp_path / "pkg/lib/systemd/system/lamplighter-domains.service"
    assert "ExecStop=/usr/local/sbin/lamplighter down\n" in unit.read_text()
    assert list((tmp_path / "pkg/usr/man/man8").iterdir())


def test_a_wrong_path_is_a_wrong_command_line(tmp_path: Path) -> None:
    status, out, err = lamplighter("install", "--root", str(tmp_path / "nowhere"))
    assert (status, out) == (2, "")
    assert "there is no folder" in err


def test_a_configuration_that_the_service_does_not_read_is_reported(tmp_path: Path) -> None:
    other = str(tmp_path / "other.toml")
    answer = document("install", "--root", str(tmp_path), LAMPLIGHTER_CONFIG=other)
    assert answer["notes"] == [
        f"the service reads /etc/lamplighter/lamplighter.toml, not {other}",
    ]


def test_a_program_that_is_not_in_the_root_yet_is_reported(tmp_path: Path, program: Path) -> None:
    program.unlink()
    answer = document("install", "--root", str(tmp_path))
    assert answer["notes"] == [f"{program} does not exist yet; the unit will start it"]


class OnHost:
    """A host whose root is a folder, and whose systemd is a record of what it is told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.enabled: set[str] = set()
        self.runs = True
        self.problems: list[Problem] = []
        places = install.inside(root)
        monkeypatch.setattr(install, "on_this_host", lambda _: places)
        monkeypatch.setattr(install, "systemd_runs", lambda: self.runs)
        monkeypatch.setattr(install, "reload_units", lambda: self.calls.append("daemon-reload"))
        monkeypatch.setattr(install, "enable_units", self.enable)
        monkeypatch.setattr(install, "restart_if_running", self.restart)
        monkeypatch.setattr(install, "enabling_link", self.link)
        monkeypatch.setattr(install, "conflicting_units", lambda: self.problems)
        self._root = root

    def enable(self, *names: str) -> None:
        self.calls.append(f"enable {' '.join(names)}")
        self.enabled.update(names)

    def restart(self, name: str) -> None:
        self.calls.append(f"try-restart {name}")

    def link(self, name: str) -> Path | None:
        unit = f"{name}.service"
        return self._root / unit if unit in self.enabled else None


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnHost:
    return OnHost(tmp_path, monkeypatch)


def test_on_the_host_it_enables_once_and_starts_nothing(host: OnHost) -> None:
    status, out, _ = lamplighter("install")
    assert status == 0
    restart = "try-restart lamplighter-monitor.service"
    assert host.calls == [f"enable {' '.join(UNITS)}", restart]
    assert "Nothing was started. Type next:\n  lamplighter check\n" in out
    assert document("install")["enabled"] is True
    assert host.calls[2:] == ["daemon-reload", restart]


def test_without_enabling(host: OnHost) -> None:
    assert document("install", "--no-enable")["enabled"] is False
    assert host.calls == ["daemon-reload", "try-restart lamplighter-monitor.service"]


def test_where_systemd_does_not_run_it_says_what_is_left_to_do(host: OnHost) -> None:
    host.runs = False
    (note,) = document("install")["notes"]
    assert host.calls == []
    assert f"systemctl enable {' '.join(UNITS)}" in note


def test_services_that_act_on_the_same_domains_are_reported(host: OnHost) -> None:
    host.problems = [Problem("conflicting-unit", "xendomains is enabled", hint="disable it")]
    status, out, _ = lamplighter("install")
    assert status == 0
    assert "error: xendomains is enabled\n  disable it\n" in out
    assert document("install")["problems"][0]["code"] == "conflicting-unit"


def test_the_unit_starts_the_program_from_a_usual_folder_if_that_leads_to_it(
    tmp_path: Path,
) -> None:
    venv, usual, other = (tmp_path / name for name in ("venv", "usual", "other"))
    for folder in (venv, usual, other):
        folder.mkdir()
    program = venv / "lamplighter"
    program.write_text("")
    (other / "lamplighter").write_text("another one")
    interpreter = venv / "python"
    assert install.bindir_of(program, interpreter, [usual, other]) == venv
    (usual / "lamplighter").symlink_to(program)
    assert install.bindir_of(program, interpreter, [other, usual]) == usual
    assert install.bindir_of(usual / "lamplighter", interpreter, [other, usual]) == usual
    assert install.bindir_of(tmp_path / "__main__.py", interpreter, [other]) == venv
