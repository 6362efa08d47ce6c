"""What shows that the kernel has begun the system's shutdown: a fake /proc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.guest.kernel_shutdown import IS_KERNEL, find_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    process(tmp_path, 1, 0, "/sbin/init")
    process(tmp_path, 2, 0, "", flags=IS_KERNEL)
    process(tmp_path, 40, 2, "", name="kworker/u8:2) x", flags=IS_KERNEL)
    process(tmp_path, 300, 1, "/usr/bin/sleep", "9")
    (tmp_path / "uptime").write_text("1 1")
    return tmp_path


def process(
    proc: Path, pid: int, parent: int, *arguments: str, name: str = "a", flags: int = 0x400000
) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0 0 -1 {flags} 5 6 7\n")
    (folder / "cmdline").write_text("".join(f"{word}\0" for word in arguments if word))


@pytest.mark.parametrize("parent", [2, 40])
@pytest.mark.parametrize(
    ("arguments", "request_seen"),
    [
        (("/sbin/poweroff",), "poweroff"),
        (("/sbin/reboot",), "reboot"),
        (("/bin/sh", "/sbin/poweroff"), "poweroff"),
        (("/bin/sh", "-e", "/sbin/reboot"), "reboot"),
        (("/sbin/modprobe", "-q", "--", "/sbin/poweroff"), None),
        (("/sbin/halt",), None),
    ],
)
def test_a_child_of_the_kernels(
    proc: Path, parent: int, arguments: tuple[str, ...], request_seen: str | None
) -> None:
    process(proc, 301, parent, *arguments)
    assert find_request(str(proc)) == request_seen


@pytest.mark.parametrize("parent", [0, 1, 300, 999])
def test_who_is_no_child_of_the_kernels_says_nothing(proc: Path, parent: int) -> None:
    process(proc, 301, parent, "/sbin/poweroff")
    assert find_request(str(proc)) is None


def test_the_command_is_the_one_that_the_kernel_was_told(proc: Path) -> None:
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/poweroff_cmd").write_text("/opt/off now\n")
    process(proc, 301, 2, "/sbin/poweroff")
    assert find_request(str(proc)) is None
    process(proc, 302, 2, "/opt/off", "now")
    assert find_request(str(proc)) == "poweroff"


def test_processes_that_have_gone_are_passed_by(proc: Path) -> None:
    (proc / "500").mkdir()
    process(proc, 501, 2, "/sbin/reboot")
    assert find_request(str(proc)) == "reboot"
    assert find_request(str(proc / "none")) is None


@pytest.mark.parametrize("newest", ["poweroff", "reboot"])
def test_the_newest_is_looked_at_first(
    proc: Path, monkeypatch: pytest.MonkeyPatch, newest: str
) -> None:
    for pid in (98, 301, 1002):
        process(proc, pid, 2, f"/sbin/{newest}" if pid == 1002 else "/sbin/poweroff")
    monkeypatch.setattr("os.listdir", lambda _: ["98", "1002", "uptime", "301"])
    assert find_request(str(proc)) == newest


def test_nothing_of_it_is_seen_on_the_machine_that_runs_the_tests() -> None:
    assert find_request() is None
