from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.host.systemd.units import conflicting_units, enabling_link

if TYPE_CHECKING:
    from pathlib import Path

NATIVE = "usr/lib/systemd/system/libvirt-guests.service"
WANTED = "etc/systemd/system/multi-user.target.wants/libvirt-guests.service"


def put(root: Path, *names: str, mode: int = 0o644) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# something\n")
        path.chmod(mode)


def link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_nothing_there(tmp_path: Path) -> None:
    assert conflicting_units(tmp_path) == []


def test_a_unit_that_is_there_but_not_enabled(tmp_path: Path) -> None:
    put(tmp_path, NATIVE)
    assert conflicting_units(tmp_path) == []


@pytest.mark.parametrize(
    "wanted",
    [
        WANTED,
        "usr/lib/systemd/system/multi-user.target.wants/libvirt-guests.service",
        "run/systemd/system/libvirtd.service.requires/libvirt-guests.service",
    ],
)
def test_a_unit_that_is_enabled_is_reported_with_what_to_do(tmp_path: Path, wanted: str) -> None:
    put(tmp_path, NATIVE)
    link(tmp_path, wanted, "/" + NATIVE)
    (problem,) = conflicting_units(tmp_path)
    assert problem.code == "conflicting-unit"
    assert str(problem.where) == str(tmp_path / wanted)
    assert "libvirt-guests is enabled" in problem.message
    assert "systemctl disable libvirt-guests" in problem.hint


def test_nobody_is_advised_to_stop_a_service_that_would_stop_domains(tmp_path: Path) -> None:
    put(tmp_path, NATIVE, WANTED, "etc/init.d/xendomains", "etc/rc3.d/S05xendomains", mode=0o755)
    problems = conflicting_units(tmp_path)
    assert len(problems) == 2
    for problem in problems:
        assert "disable --now" not in problem.hint
        assert "without --now" in problem.hint
        assert "systemctl stop" not in problem.hint


@pytest.mark.parametrize("mask", ["etc/systemd/system", "run/systemd/system"])
def test_a_masked_unit_is_no_conflict(tmp_path: Path, mask: str) -> None:
    put(tmp_path, NATIVE)
    link(tmp_path, WANTED, "/" + NATIVE)
    link(tmp_path, f"{mask}/libvirt-guests.service", "/dev/null")
    assert conflicting_units(tmp_path) == []


def test_an_empty_file_masks_too(tmp_path: Path) -> None:
    put(tmp_path, NATIVE, WANTED)
    (tmp_path / "etc/systemd/system/libvirt-guests.service").write_text("")
    assert conflicting_units(tmp_path) == []


def test_a_link_masked_by_an_earlier_folder_wants_nothing(tmp_path: Path) -> None:
    put(tmp_path, NATIVE, f"usr/lib/systemd/{WANTED.removeprefix('etc/systemd/')}")
    assert len(conflicting_units(tmp_path)) == 1
    link(tmp_path, WANTED, "/dev/null")
    assert conflicting_units(tmp_path) == []


def test_a_link_left_over_from_a_removed_package(tmp_path: Path) -> None:
    link(tmp_path, WANTED, "/" + NATIVE)
    assert conflicting_units(tmp_path) == []


def test_an_init_script_with_links_of_its_runlevels(tmp_path: Path) -> None:
    put(tmp_path, "etc/init.d/xendomains", mode=0o755)
    link(tmp_path, "etc/rc0.d/K01xendomains", "../init.d/xendomains")
    link(tmp_path, "etc/rc3.d/K01xendomains", "../init.d/xendomains")
    assert enabling_link("xendomains", tmp_path) is None
    link(tmp_path, "etc/rc3.d/S03xendomains", "../init.d/xendomains")
    assert enabling_link("xendomains", tmp_path) == tmp_path / "etc/rc3.d/S03xendomains"
    # What systemd generated from it does not count as a unit of its own.
    put(tmp_path, "run/systemd/generator.late/xendomains.service")
    assert enabling_link("xendomains", tmp_path) is not None
    link(tmp_path, "etc/systemd/system/xendomains.service", "/dev/null")
    assert enabling_link("xendomains", tmp_path) is None
