from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from lamplighter.host.systemd.notify import Notifier, watchdog_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


def test_it_sends_to_the_path_that_the_environment_names(
    tmp_path: Path, manager: socket.socket
) -> None:
    manager.bind(str(tmp_path / "notify"))
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert notifier.active
    assert notifier.send(status="stopping: 1 of 2 left: web", extend=60)
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=stopping: 1 of 2 left: web"


def test_it_sends_to_an_abstract_name(tmp_path: Path, manager: socket.socket) -> None:
    name = f"lamplighter-test-{tmp_path}"
    manager.bind(f"\0{name}")
    assert Notifier(f"@{name}").send(status="here")
    assert manager.recv(4096) == b"STATUS=here"


@pytest.mark.parametrize("own", [True, False])
def test_a_socket_that_another_process_was_given_is_not_ours(own: bool) -> None:
    pid = os.getpid() if own else os.getppid()
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "SYSTEMD_EXEC_PID": str(pid)}
    assert Notifier.from_environment(environment).active is own


def test_without_a_socket_it_does_nothing() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.active
    assert not notifier.send(status="nobody hears")


@pytest.mark.parametrize("address", ["/nowhere/notify", "relative", "vsock:2:1", "@" + "x" * 300])
def test_an_address_that_nobody_listens_on_is_no_error(address: str) -> None:
    assert not Notifier(address).send(status="x", extend=1)


def test_a_manager_that_does_not_read_holds_nothing_up(
    tmp_path: Path, manager: socket.socket
) -> None:
    manager.bind(str(tmp_path / "notify"))
    notifier = Notifier(str(tmp_path / "notify"))
    sent = [notifier.send(status="x" * 900) for _ in range(2000)]
    assert sent[0]
    assert not sent[-1]


def test_it_reports_that_it_is_ready_well_and_about_to_stop(
    tmp_path: Path, manager: socket.socket
) -> None:
    manager.bind(str(tmp_path / "notify"))
    notifier = Notifier(str(tmp_path / "notify"))
    assert notifier.send(ready=True, watchdog=True, status="watching 3 domains")
    assert notifier.send(stopping=True)
    assert manager.recv(4096) == b"READY=1\nWATCHDOG=1\nSTATUS=watching 3 domains"
    assert manager.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("told", "pid", "seconds"),
    [
        ("600000000", "", 600.0),
        ("1500000", "mine", 1.5),
        ("600000000", "1", None),  # meant for another process
        ("", "", None),
        ("0", "", None),
        ("-5", "", None),
        ("soon", "", None),
    ],
)
def test_the_time_of_the_watchdog(told: str, pid: str, seconds: float | None) -> None:
    number = str(os.getpid()) if pid == "mine" else pid
    assert watchdog_seconds({"WATCHDOG_USEC": told, "WATCHDOG_PID": number}) == seconds
