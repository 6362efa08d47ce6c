from __future__ import annotations

import configparser
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lamplighter.errors import ConfigurationError, UsageError
from lamplighter.formats.lamplighter_toml import parse
from lamplighter.host.files.installing import Change
from lamplighter.model.policy import HostSettings, Policy
from lamplighter.service.installation import (
    CONFIGURATION,
    UNITS,
    check_program,
    inside,
    install_files,
)


class Unit(dict[str, dict[str, list[str]]]):
    """A unit file's settings; a key that stands there several times has several values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        section: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("["):
                section = self.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                key, _, value = line.partition("=")
                section.setdefault(key, []).append(value)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    install_files(inside(tmp_path))
    return tmp_path / "usr/lib/systemd/system" / UNITS[0]


def test_everything_is_put_in_place_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    first = install_files(inside(tmp_path))
    assert {placed.how for placed in first} == {Change.CREATED}
    assert all(placed.path.is_relative_to(tmp_path) for placed in first)
    state = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = install_files(inside(tmp_path))
    assert {placed.how for placed in second} == {Change.UNCHANGED, Change.KEPT}
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == state


def test_what_an_administrator_wrote_is_kept_and_what_is_ours_is_renewed(
    tmp_path: Path, unit: Path
) -> None:
    configuration = tmp_path / CONFIGURATION.relative_to("/")
    configuration.write_text("[defaults]\n")
    unit.write_text("[Unit]\n")
    how = {placed.path: placed.how for placed in install_files(inside(tmp_path))}
    assert (how[configuration], how[unit]) == (Change.KEPT, Change.UPDATED)
    assert configuration.read_text() == "[defaults]\n"


def test_only_root_may_look_into_the_state(tmp_path: Path) -> None:
    install_files(inside(tmp_path))
    assert stat.S_IMODE((tmp_path / "var/lib/lamplighter").stat().st_mode) == 0o700


def test_the_default_configuration_says_what_is_built_in(tmp_path: Path) -> None:
    install_files(inside(tmp_path))
    text = (tmp_path / CONFIGURATION.relative_to("/")).read_text()
    as_it_is = parse(text, str(CONFIGURATION))
    assert (as_it_is.host, as_it_is.defaults, as_it_is.domains) == (HostSettings(), {}, {})
    lines = (
        line[1:] if line[:1] == "#" and line[1:2].strip() else line for line in text.split("\n")
    )
    spoken = parse("\n".join(lines), str(CONFIGURATION))
    for name in HostSettings._fields:
        assert getattr(spoken.host, name).value == getattr(HostSettings(), name).value, name
    for name in Policy._fields:
        assert spoken.defaults[name].value == getattr(Policy(), name).value, name


def test_the_unit_starts_the_program_it_was_told_of(tmp_path: Path) -> None:
    install_files(inside(tmp_path, Path("/opt/lamplighter/bin")))
    service = Unit((tmp_path / "usr/lib/systemd/system" / UNITS[0]).read_text())["Service"]
    assert service["ExecStart"] == ["-/opt/lamplighter/bin/lamplighter up"]
    assert service["ExecStop"] == ["/opt/lamplighter/bin/lamplighter down"]
    assert service["ExecStopPost"] == ["/opt/lamplighter/bin/lamplighter down --after-stop"]
    assert service["ExecReload"] == ["/opt/lamplighter/bin/lamplighter check"]


def test_nothing_that_happens_to_another_unit_reaches_ours(unit: Path) -> None:
    ours = Unit(unit.read_text())
    assert ours["Unit"].keys() <= {
        "Description", "Documentation", "ConditionPathExists", "Wants", "After",
        "StartLimitIntervalSec",
    }  # fmt: skip
    assert ours["Unit"]["StartLimitIntervalSec"] == ["0"], "a restart too many is not a stop"
    after = " ".join(ours["Unit"]["After"]).split()
    assert set(ours["Unit"]["Wants"][0].split()) <= set(after)
    assert {"xendomains.service", "libvirt-guests.service"} <= set(after)
    assert len(after) == len(set(after))


def test_nothing_of_a_domain_dies_with_the_unit(unit: Path) -> None:
    service = Unit(unit.read_text())["Service"]
    assert service["KillMode"] == ["process"]
    assert service["OOMPolicy"] == ["continue"]
    assert (service["Type"], service["RemainAfterExit"]) == (["oneshot"], ["yes"])


def test_a_start_that_takes_long_does_not_leave_the_unit_failed(unit: Path) -> None:
    service = Unit(unit.read_text())["Service"]
    assert service["TimeoutStartSec"] == ["infinity"]
    assert service["ExecStart"][0].startswith("-")


def test_the_unit_can_be_read_without_scrolling(unit: Path) -> None:
    assert max(map(len, unit.read_text().splitlines())) <= 100


def test_the_unit_is_an_ini_file_for_every_other_reader(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(unit.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    program = root / "bin" / "lamplighter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    install_files(inside(root, root / "bin"))
    unit = root / "usr/lib/systemd/system" / UNITS[0]
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("option", ["root", "bindir", "unitdir", "mandir"])
@pytest.mark.parametrize("path", ["etc", "/etc/../root"])
def test_a_path_that_is_not_absolute_is_refused(tmp_path: Path, option: str, path: str) -> None:
    places = replace(inside(tmp_path), **{option: Path(path)})
    with pytest.raises(UsageError, match=f"--{option} needs an absolute path"):
        install_files(places)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/opt/my tools", "/opt/%h", "/opt/$HOME", '/opt/"x', "/opt/a\nb"])
def test_a_program_that_a_unit_cannot_name_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot be written into a unit"):
        install_files(inside(tmp_path, Path(path)))


def test_a_root_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        install_files(inside(tmp_path / "nowhere"))


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "etc").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigurationError, match="a link leads out of"):
        install_files(inside(tmp_path / "root"))
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "No such file"),
        ("a folder", "not an executable file"),
        ("not executable", "not an executable file"),
        ("writable by all", "can be written by everybody"),
        ("in a folder writable by all", "can be written by everybody"),
    ],
)
def test_a_program_that_root_must_not_start_is_refused(
    tmp_path: Path, kind: str, told: str
) -> None:
    program = tmp_path / "lamplighter"
    if kind == "a folder":
        program.mkdir()
    elif kind != "missing":
        program.write_text("#!/bin/sh\n")
        program.chmod({"not executable": 0o644, "writable by all": 0o757}.get(kind, 0o755))
    if kind == "in a folder writable by all":
        tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match=told) as caught:
        check_program(program, owners={0, os.getuid()})
    assert caught.value.where == str(program)


def test_a_program_of_ours_is_taken(tmp_path: Path) -> None:
    program = tmp_path / "lamplighter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    check_program(program, owners={0, os.getuid()})
