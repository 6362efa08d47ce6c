"""The guard: its orders, its sleep, and what it does at its moment, with nothing ended for real."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from lamplighter.guest.clock import now
from lamplighter.guest.guard import (
    Guard,
    Order,
    apply_orders,
    encode_order,
    force,
    wait_for_deadline,
)
from lamplighter.guest.log import Log
from lamplighter.guest.nodes import node
from lamplighter.guest.power import Power, Rehearsal
from lamplighter.guest.processes import Children
from lamplighter.guest.xenbus import Bus
from tests.agent import Notes
from tests.store_thread import StoreThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The tests' own process has threads; what it forks here touches none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PATIENCE = 20_000  # milliseconds


class Says(Power):
    """Writes into a pipe what it would do."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self.pipe = pipe

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.pipe,)

    def prepare(self) -> list[str]:
        return []

    def lock_memory(self, *, read: bool) -> str | None:
        return None

    def sync(self) -> None:
        os.write(self.pipe, b"sync\n")

    def force(self, request: str) -> None:
        os.write(self.pipe, f"force {request}\n".encode())

    def force_by_key(self, request: str) -> None:
        os.write(self.pipe, f"key {request}\n".encode())


class Hangs(Says):
    """A disk that answers nobody."""

    def lock_memory(self, *, read: bool) -> str | None:
        if read:
            select.poll().poll(PATIENCE)
        os.write(self.pipe, f"locked, read: {read}\n".encode())
        return None

    def sync(self) -> None:
        select.poll().poll(PATIENCE)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def said(ours: int, lines: int) -> list[str]:
    """The next so many lines that a guard said."""
    poll, text = select.poll(), ""
    poll.register(ours, select.POLLIN)
    while text.count("\n") < lines:
        assert poll.poll(PATIENCE), f"only this was said: {text!r}"
        text += os.read(ours, 4096).decode()
    return text.splitlines()


STANDING = Order("poweroff", 100.0)


def test_an_order_is_a_line_and_the_last_one_stands() -> None:
    later, sooner = Order("reboot", 12345.678901), Order("halt", 5.0)
    never = Order("halt", inf)
    assert apply_orders(STANDING, encode_order(later)) == later
    assert apply_orders(STANDING, encode_order(later) + encode_order(never)) == never
    assert apply_orders(STANDING, encode_order(later) + b"poweroff 1") == Order("poweroff", 1.0)
    assert apply_orders(STANDING, encode_order(later, or_sooner=True)) == STANDING
    assert apply_orders(STANDING, encode_order(sooner, or_sooner=True)) == sooner


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"poweroff", b"poweroff nan", b"sleep 1", b"halt -inf", b" or sooner"]
)
def test_what_is_no_order(line: bytes) -> None:
    assert apply_orders(STANDING, line) == STANDING
    order = Order("reboot", 7.0)
    assert apply_orders(STANDING, encode_order(order) + line + b"\n") == order


def test_it_sleeps_until_the_last_order_it_was_given(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    os.write(theirs, b"nonsense\n" + encode_order(Order("reboot", 50.0)))
    clock = iter([0.0, 47.9, 48.0, 48.0]).__next__
    assert wait_for_deadline(ours, Order("poweroff", 100.0), clock) == Order("reboot", 50.0), (
        "and words before"
    )
    assert wait_for_deadline(ours, Order("poweroff", 10.0), lambda: 10.0) == Order("poweroff", 10.0)
    os.write(theirs, encode_order(Order("halt", 20.0)))
    late = iter([10.0, 10.0, 17.9, 18.0, 18.0]).__next__  # it was not ready before
    assert wait_for_deadline(ours, Order("poweroff", 10.0), late) == Order("halt", 20.0)


def test_at_its_moment_it_tells_the_host_syncs_and_forces(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    ours, theirs = pipe
    with StoreThread(tmp_path / "s") as store:
        bus = Bus(str(store.path))
        force(Order("poweroff", 0.0), "not off after 150 s", bus, Says(theirs))
        assert said(ours, 2) == ["sync", "force poweroff"]
        other = Bus(str(store.path))
        assert other.read(node("forced")) == b"poweroff not off after 150 s"
        other.close()
        bus.close()


def test_neither_a_dead_host_nor_a_dead_disk_holds_it_up(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pipe
    monkeypatch.setattr("lamplighter.guest.guard.REPORT_TIME", 0.05)
    force(Order("reboot", 0.0), "", None, Hangs(theirs))
    assert said(ours, 1) == ["force reboot"]


def test_a_dead_disk_does_not_keep_a_guard_from_its_work(
    tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("LOCK_TIMEOUT", "REPORT_TIME"):
        monkeypatch.setattr(f"lamplighter.guest.guard.{patience}", 0.05)
    guard = Guard(str(tmp_path / "guard"), str(tmp_path / "no"), Hangs(pipe[1]), quiet())
    guard.arm(Order("poweroff", 0.0))
    assert said(pipe[0], 2) == ["locked, read: False", "force poweroff"]
    os.waitpid(guard._pid, 0)


def stands(pid: int) -> Path:
    """Return the guard's folder in /proc once it has all that it wants."""
    folder = Path(f"/proc/{pid}")
    until(lambda: (folder / "cmdline").read_bytes()[:1] == b"@")
    until(lambda: (folder / "fd/0").readlink() == Path(os.devnull))
    return folder


def descriptors(folder: Path) -> set[str]:
    """What a process has open; it may be closing them at this moment."""
    found = set()
    for entry in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return found


def until(condition: Callable[[], bool]) -> None:
    for _ in range(PATIENCE // 10):
        if condition():
            return
        select.poll().poll(10)
    raise AssertionError("it did not come to that")


@pytest.fixture
def guard(tmp_path: Path, pipe: tuple[int, int]) -> Iterator[Guard]:
    guard = Guard(str(tmp_path / "guard"), str(tmp_path / "no"), Says(pipe[1]), quiet())
    yield guard
    if guard._pid:
        os.kill(guard._pid, signal.SIGKILL)
        os.waitpid(guard._pid, 0)


def quiet() -> Log:
    return Log(marked=False, descriptor=-1)


def test_the_guard_takes_other_orders_and_does_not_mind_signals(
    guard: Guard, pipe: tuple[int, int]
) -> None:
    guard.arm(Order("poweroff", inf))
    pid = guard._pid
    stands(pid)
    assert os.getsid(pid) == pid
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(pid, number)
    guard.arm(Order("reboot", 0.0, "reboot 9 1"))
    assert guard._pid == pid
    assert said(pipe[0], 2) == ["sync", "force reboot"]


def test_a_guard_keeps_only_what_it_needs(guard: Guard, pipe: tuple[int, int]) -> None:
    guard.arm(Order("poweroff", inf))
    folder = stands(guard._pid)
    wanted = {os.devnull, f"pipe:[{os.fstat(pipe[1]).st_ino}]", guard._pipe}

    until(lambda: descriptors(folder) == wanted)
    assert (folder / "cwd").resolve() == Path("/")


def test_a_new_agent_finds_the_guard_of_the_old_one_and_puts_nothing_off(
    guard: Guard, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    guard.arm(Order("poweroff", now() + 5.0))
    new = Guard(str(tmp_path / "guard"), "", Says(pipe[1]), quiet())
    new.arm(Order("halt", inf))
    assert new._pid == 0
    assert said(pipe[0], 2) == ["sync", "force poweroff"]


def test_an_agent_that_the_guard_knows_may_put_it_off(
    guard: Guard, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    guard.arm(Order("poweroff", inf))
    (tmp_path / "guard-order").unlink()
    new = Guard(str(tmp_path / "guard"), "", Says(pipe[1]), quiet())
    assert new.runs
    new.arm(Order("halt", 1e9))  # sooner than never
    assert not (tmp_path / "guard-order").exists()  # it is not known what stands
    new.arm(Order("reboot", inf, "/k1"))  # what the host has granted
    assert kept(tmp_path) == "reboot inf\n/k1\n"
    new.arm(Order("reboot", 0.0, "/k2"))
    assert said(pipe[0], 2) == ["sync", "force reboot"]


def kept(folder: Path) -> str:
    return (folder / "guard-order").read_text()


def test_a_new_agent_brings_nothing_forward_either(
    guard: Guard, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    guard.arm(Order("reboot", now() + 1000.0, "reboot 1000 1"))
    guard.arm(Order("reboot", 1e9, "reboot 1000 1/k1"))  # what the host has granted
    new = Guard(str(tmp_path / "guard"), "", Says(pipe[1]), quiet())
    new.arm(Order("reboot", 0.0))  # as its own clock has it
    new.arm(Order("reboot", 0.1, "reboot 1000 1"))  # as it counts from the host's note
    assert kept(tmp_path) == "reboot 1000000000.0\nreboot 1000 1/k1\n"
    new.arm(Order("poweroff", 0.1, "reboot 1000 1"))
    assert kept(tmp_path) == "poweroff 1000000000.0\nreboot 1000 1/k1\n"
    assert new._pid == 0
    assert new.grant == "k1"
    stands(guard._pid)
    assert not select.select([pipe[0]], [], [], 0.0)[0]
    new.arm(Order("poweroff", 0.2, "poweroff 5 11"))  # what the host says now
    assert said(pipe[0], 2) == ["sync", "force poweroff"]


def test_what_was_kept_of_a_guard_that_is_gone_means_nothing(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "guard-order").write_text("halt 0.0\n")
    assert not guard.runs
    guard.arm(Order("reboot", inf))
    assert kept(tmp_path) == "reboot inf\n\n"


def test_without_a_file_nothing_old_is_kept(guard: Guard, tmp_path: Path) -> None:
    guard.arm(Order("reboot", inf))
    (tmp_path / "guard-order.new").mkdir()
    guard.arm(Order("reboot", 1e9, "/k1"))
    assert not (tmp_path / "guard-order").exists()


def test_a_new_agents_first_order_may_be_the_hosts_newest(guard: Guard, tmp_path: Path) -> None:
    guard.arm(Order("poweroff", 1e9))  # the host had said nothing
    new = Guard(str(tmp_path / "guard"), "", Power(), quiet())
    new.arm(Order("poweroff", 1e8, "poweroff 59 1"))
    assert kept(tmp_path) == "poweroff 100000000.0\npoweroff 59 1\n"


def test_a_guard_that_cannot_be_made_is_made_later(
    guard: Guard, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    notes = guard._log = Notes()
    monkeypatch.setattr("lamplighter.guest.guard.os.fork", full)
    guard.arm(Order("poweroff", 0.0))
    monkeypatch.undo()
    assert "Resource temporarily unavailable; it is tried again in 5 s" in notes.lines[0]
    assert guard._pid == 0
    assert now() < guard.wake < now() + 5.0
    guard.tick(guard.wake - 0.001)
    assert guard._pid == 0
    guard.tick(guard.wake)
    assert guard.wake == inf
    assert said(pipe[0], 2) == ["sync", "force poweroff"]


def test_without_a_pipe_a_guard_makes_room_for_the_next(
    guard: Guard, tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lamplighter.guest.guard.os.mkfifo", full)
    guard.arm(Order("poweroff", inf))
    first = guard._pid
    guard.arm(Order("reboot", inf))
    assert os.waitpid(first, 0)[1] == signal.SIGKILL
    assert not guard.ended(first, -signal.SIGKILL)
    second = guard._pid
    assert second not in (0, first)
    monkeypatch.setattr("lamplighter.guest.guard.os.fork", full)
    guard.arm(Order("reboot", 0.0))
    assert guard._pid == second  # better this one than none


@pytest.mark.parametrize("socket", [True, False])
def test_a_rehearsal_tells_no_real_host(tmp_path: Path, *, socket: bool) -> None:
    with StoreThread(tmp_path / "s") as store:
        place = store.path if socket else tmp_path / "device"
        (tmp_path / "device").touch()
        power = Rehearsal(str(tmp_path / "rehearsal"))
        assert power.may_report(str(place)) is socket
        assert Power().may_report(str(place))
        assert not power.may_report(str(tmp_path / "none"))


def test_a_guard_that_is_killed_has_a_successor(guard: Guard, pipe: tuple[int, int]) -> None:
    guard.arm(Order("poweroff", inf))
    first = guard._pid
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert not guard.ended(first + 1, -9)
    assert guard.ended(first, -9)
    assert guard._pid not in (0, first)
    guard.arm(Order("poweroff", 0.0, "/k1"))
    assert said(pipe[0], 2) == ["sync", "force poweroff"]
    assert os.waitpid(guard._pid, 0)[1] == 0
    assert guard.ended(guard._pid, 0)
    assert guard._pid == 0


def test_a_guard_that_fails_has_one_successor_and_then_it_is_reported(
    guard: Guard, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError

    notes = guard._log = Notes()
    monkeypatch.setattr("lamplighter.guest.guard.detach", fail)
    guard.arm(Order("poweroff", inf))
    for _ in range(2):
        failed = guard._pid
        assert os.waitstatus_to_exitcode(os.waitpid(failed, 0)[1]) == 1
        assert guard.ended(failed, 1)
    assert guard._pid == 0
    assert notes.lines == [
        "the guard failed: another one takes its place",
        "the guard has failed again: nothing forces the end",
    ]


def test_a_rehearsal_writes_what_would_be_done(tmp_path: Path) -> None:
    power = Rehearsal(str(tmp_path / "rehearsal"))
    assert power.prepare() == []
    power.shut_down("halt", Children())
    power.sync()
    power.force("poweroff")
    power.force("reboot")
    power.force_by_key("reboot")
    assert (tmp_path / "rehearsal").read_text().splitlines() == [
        "start /sbin/poweroff",
        "sync",
        "reboot 0x4321fedc",
        "reboot 0x01234567",
        "sysrq b",
    ]


def test_what_the_force_needs_is_loaded_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.guest.power.SYSRQ", "/nonexistent")
    power = Power()
    power.load()
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert power.prepare() == ["/nonexistent: No such file or directory"]
    assert power.descriptors == ()
    libc = power._libc = Mock()
    libc.mlockall.return_value = 0
    assert power.lock_memory(read=False) is None
    assert power.lock_memory(read=True) is None
    assert [call.args for call in libc.mlockall.mock_calls] == [(7,), (3,)]
    libc.mlockall.return_value = -1
    assert power.lock_memory(read=True) == "mlockall(2) failed"
    without = Power()
    without.load()
    assert without.prepare()[0].startswith("reboot(2): import of ctypes halted")
    assert without.lock_memory(read=True) is None
