"""Programs that end, that are late, that never stop talking, and that leave a daemon behind."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import CallFailed, CallTimedOut, ToolstackUnreachable
from lamplighter.host import programs
from lamplighter.host.clock import LoopClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lamplighter.host.programs import Completed


def run(*argv: str, seconds: float = 10, speed: float = 1) -> Completed:
    return asyncio.run(programs.run(argv, LoopClock(speed), seconds))


def shell(script: str, *, seconds: float = 10, speed: float = 1) -> Completed:
    return run("/bin/sh", "-c", script, seconds=seconds, speed=speed)


def lives(number: int) -> bool:
    """Whether it still executes a moment later; one that nobody has reaped yet does not."""
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return False
    try:
        ended, _, _ = select.select([process], [], [], 1)
    finally:
        os.close(process)
    return not ended


def test_status_and_both_streams_come_back() -> None:
    ended = shell("echo out; echo err >&2; exit 3")
    assert (ended.status, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


def test_a_signal_is_a_negative_status() -> None:
    assert shell("kill -9 $$").status == -9


def test_it_reads_nothing_and_knows_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    ended = shell("cat; echo $NOTIFY_SOCKET$LANG$LC_ALL; echo $PATH")
    assert ended.stdout == f"C\n{programs.PATH}\n"


def test_arguments_are_not_a_shell_s() -> None:
    assert run("/bin/echo", "$HOME; `id`", "*").stdout == "$HOME; `id` *\n"


def test_more_than_a_pipe_holds() -> None:
    ended = shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2")
    assert (len(ended.stdout), len(ended.stderr)) == (1_000_000, 1_000_000)


def test_bytes_that_are_no_text() -> None:
    assert shell("printf 'a\\377b'").stdout == "a\ufffdb"


def test_a_late_program_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    with pytest.raises(CallTimedOut, match=r"sh -c .* did not end within 20 s"):
        shell(f"sleep 60 & echo $! >{note}; wait", seconds=20, speed=10)
    assert not lives(int(note.read_text()))


def test_nor_does_a_child_outlive_it_that_does_not_listen(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') >{note}; sleep 60; sleep 60) & wait"
    with pytest.raises(CallTimedOut):
        shell(script, seconds=20, speed=10)
    assert not lives(int(note.read_text()))


def test_a_late_program_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "self"
    with pytest.raises(CallTimedOut):
        shell(f"trap '' TERM; echo $$ >{note}; while :; do sleep 60; done", seconds=20, speed=10)
    assert not lives(int(note.read_text()))


def test_a_program_that_prints_without_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "OUTPUT_MAX", 1 << 20)
    with pytest.raises(CallFailed, match="printed more than 1 MiB"):
        shell("yes")


def test_a_daemon_that_keeps_the_pipes_holds_nobody_up(tmp_path: Path) -> None:
    note = tmp_path / "daemon"
    daemon = f"setsid sh -c 'echo $$ >{note}; sleep 60' & while [ ! -s {note} ]; do :; done"
    ended = shell(f"{daemon}; echo done", seconds=200, speed=10)
    assert (ended.status, ended.stdout) == (0, "done\n")
    # It is nobody's business but its own: xl leaves such a process behind for each domain.
    os.killpg(int(note.read_text()), 9)  # an error if it were gone


def test_a_call_that_is_dropped_leaves_no_program(tmp_path: Path) -> None:
    note = tmp_path / "self"

    async def main() -> None:
        clock = LoopClock()
        script = f"echo $$ >{note}; exec sleep 60"
        call = asyncio.create_task(programs.run(("/bin/sh", "-c", script), clock, 60))
        while not note.exists() or not note.read_text():
            await clock.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()

    asyncio.run(main())
    assert not lives(int(note.read_text()))


def test_nor_one_that_does_not_listen_when_nobody_waits_for_its_end(tmp_path: Path) -> None:
    note = tmp_path / "self"

    async def main() -> None:
        clock = LoopClock()
        script = f"trap '' TERM; echo $$ >{note}; while :; do sleep 60; done"
        call = asyncio.create_task(programs.run(("/bin/sh", "-c", script), clock, 60))
        while not note.exists() or not note.read_text():
            await clock.sleep(0.01)
        call.cancel()
        await clock.sleep(0.05)
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()

    asyncio.run(main())
    assert not lives(int(note.read_text()))


@pytest.mark.parametrize("content", [None, "", "#!/nonexistent/interpreter\n"])
def test_what_cannot_be_started(tmp_path: Path, content: str | None) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
    with pytest.raises(ToolstackUnreachable, match="program cannot be started"):
        run(str(program))


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4])
def test_without_a_descriptor_left_the_call_fails_and_keeps_none(spare: int) -> None:
    async def main() -> tuple[int, int]:
        clock = LoopClock()
        await programs.run(("/bin/true",), clock, 5)
        before = descriptors()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free() + spare, limits[1]))
        try:
            with pytest.raises(CallFailed, match="Too many open files"):
                await programs.run(("/bin/true",), clock, 5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await clock.sleep(0)
        return before, descriptors()

    before, after = asyncio.run(main())
    assert after == before


def lowest_free() -> int:
    """The number that the next descriptor gets; the limit is one of numbers, not of how many."""
    number = os.open("/dev/null", os.O_RDONLY)
    os.close(number)
    return number


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open() -> None:
    async def main() -> tuple[int, int]:
        clock = LoopClock()
        await programs.run(("/bin/true",), clock, 5)
        before = descriptors()
        for _ in range(5):
            await programs.run(("/bin/true",), clock, 5)
        return before, descriptors()

    before, after = asyncio.run(main())
    assert after == before


def test_command_lines_of_what_lives_hold_our_own() -> None:
    found = [words for words in programs.command_lines() if "pytest" in " ".join(words)]
    assert found
    assert all("\0" not in word for words in found for word in words)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_other_users_write_into_their_command_lines_is_not_believed() -> None:
    words = ["xl", "create", "/etc/xen/web.cfg"]
    reads = ("/bin/sh", "-c", "echo begun; read nothing", *words)
    for user in (0, 65534):
        with subprocess.Popen(
            reads, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            believed = any(line[-3:] == words for line in programs.command_lines())
            process.communicate()
        assert believed == (user == 0)


# --- something is done before the program is executed ------------------------------------------


def prepared(
    prepare: Callable[[int], Awaitable[None]], script: str, *, seconds: float = 10, speed: float = 1
) -> Completed:
    argv = ("/bin/sh", "-c", script)
    return asyncio.run(programs.run(argv, LoopClock(speed), seconds, prepare))


def test_it_is_done_to_the_process_that_becomes_the_program(tmp_path: Path) -> None:
    told: list[tuple[int, bool]] = []

    async def prepare(pid: int) -> None:
        await LoopClock().sleep(0)
        told.append((pid, (tmp_path / "begun").exists()))

    ended = prepared(prepare, f"touch {tmp_path}/begun; echo $$; readlink /proc/self/fd/0; exit 3")
    ((pid, begun),) = told
    assert not begun
    assert (ended.status, ended.stdout) == (3, f"{pid}\n/dev/null\n")


def test_its_arguments_are_not_a_shell_s_either() -> None:
    async def prepare(pid: int) -> None:
        """Nothing."""

    argv = ("/bin/echo", "$HOME; `id`", "*", "")
    assert asyncio.run(programs.run(argv, LoopClock(), 10, prepare)).stdout == "$HOME; `id` * \n"


def test_what_could_not_be_done_keeps_the_program_from_being_executed(tmp_path: Path) -> None:
    waiting: list[int] = []

    async def prepare(pid: int) -> None:
        waiting.append(pid)
        raise CallFailed("no scope")

    with pytest.raises(CallFailed, match="no scope"):
        prepared(prepare, f"touch {tmp_path}/begun")
    assert not lives(waiting[0])
    assert not (tmp_path / "begun").exists()


def test_a_preparation_that_is_late_is_reported_as_a_program_that_is(tmp_path: Path) -> None:
    async def prepare(pid: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(CallTimedOut, match="did not end within 20 s"):
        prepared(prepare, f"touch {tmp_path}/begun", seconds=20, speed=100)
    assert not (tmp_path / "begun").exists()


DIES = """
import asyncio, os, sys
from lamplighter.host import programs
from lamplighter.host.clock import LoopClock

async def prepare(pid):
    print(pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(programs.run(("/bin/sh", "-c", f"touch {sys.argv[1]}"), LoopClock(), 60, prepare))
"""


def test_when_who_prepares_is_killed_the_program_is_not_executed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    caller = subprocess.run(
        [sys.executable, "-c", DIES, str(begun)], capture_output=True, text=True, check=False
    )
    assert caller.returncode == -9, caller.stderr
    assert not lives(int(caller.stdout))
    assert not begun.exists()


# --- who executes what -------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs count")
def test_a_process_executes_its_program_even_when_that_was_replaced(tmp_path: Path) -> None:
    program = tmp_path / "xl"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        assert programs.executes(process.pid, "xl")
        assert not programs.executes(process.pid, "sleep")
        program.unlink()
        assert programs.executes(process.pid, "xl"), "as after an update of the package"
        process.kill()
    assert not programs.executes(process.pid, "xl")
