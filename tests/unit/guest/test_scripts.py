"""The administrator's scripts: which are run, in which order, for how long; and how they end."""

from __future__ import annotations

import os
import signal
from math import inf
from pathlib import Path

import pytest

from lamplighter.guest.config import Paths
from lamplighter.guest.processes import LAST_CHANCE, Children, problem_of
from lamplighter.guest.run_state import BOOT_ID, RunStateFile
from lamplighter.guest.scripts import UNSEEN, Scripts, find_programs
from lamplighter.guest.trust import distrust
from tests.agent import Notes

OWNERS = (0, os.geteuid())


def put(folder: Path, name: str, text: str = "#!/bin/sh\n", mode: int = 0o755) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def names(folder: Path) -> list[str]:
    return [program.name for program in find_programs(str(folder), 60.0, OWNERS)[0]]


def test_programs_are_run_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("20-b", "10-a", "9", "Z", "a.sh"):
        put(tmp_path, name)
    assert names(tmp_path) == ["10-a", "20-b", "9", "Z", "a.sh"]


@pytest.mark.parametrize(
    "name", ["a~", ".a", "a.dpkg-old", "a.dpkg-dist", "a.rpmsave", "a.bak", "a,b", "a b", "#a#"]
)
def test_what_was_left_behind_is_no_program(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert find_programs(str(tmp_path), 60.0, OWNERS) == ([], [])


def test_what_others_could_have_written_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "10-a", mode=0o757)
    put(tmp_path, "20-b", mode=0o775)
    put(tmp_path, "30-c", mode=0o644)
    put(tmp_path, "40-d")
    (tmp_path / "50-e").symlink_to(tmp_path / "none")
    (tmp_path / "60-f").mkdir()
    found, problems = find_programs(str(tmp_path), 60.0, OWNERS)
    assert [program.name for program in found] == ["40-d"]
    assert [
        problem.removeprefix(f"{tmp_path}/").split(": ", 1)[1][:24] for problem in problems
    ] == [
        "it is not run: it can be",
        "it is not run: it can be",
        "it is not run: it is not",
        "it cannot be read: No su",
    ]
    found, problems = find_programs(str(tmp_path), 60.0, (os.geteuid() + 1,))
    assert found == []
    assert "nothing in it is run: " in problems[0]
    assert f" belongs to user {os.geteuid()}, not to root" in problems[0]
    tmp_path.chmod(0o777)
    assert (
        "it can be written by others than root" in find_programs(str(tmp_path), 60.0, OWNERS)[1][0]
    )


def test_what_a_link_leads_to_must_be_roots_all_the_way(tmp_path: Path) -> None:
    folder, there = tmp_path / "shutdown.d", tmp_path / "app"
    folder.mkdir(mode=0o755)
    there.mkdir()
    put(there, "stop")
    (there / "current").symlink_to(there / "stop")
    (folder / "10-a").symlink_to("../app/current")
    found, problems = find_programs(str(folder), 60.0, OWNERS)
    assert ([one.name for one in found], problems) == (["10-a"], [])
    assert found[0].refused(OWNERS) is None
    there.chmod(0o777)
    assert find_programs(str(folder), 60.0, OWNERS)[0] == []
    assert found[0].refused(OWNERS) == (
        f"it is not run: {there} can be written by others than root (chmod go-w)"
    )
    there.chmod(0o1777)
    assert found[0].refused(OWNERS) is None, "nobody replaces there what is root's"


def test_links_in_a_circle_are_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        distrust(str(tmp_path / "a"), OWNERS)


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert find_programs(str(tmp_path / "none"), 60.0, OWNERS) == ([], [])


@pytest.mark.parametrize(
    ("line", "deadline", "problem"),
    [
        ("# lamplighter-deadline: 30s", 30.0, ""),
        ("  #  lamplighter-deadline:2min  ", 120.0, ""),
        ("// lamplighter-deadline: 1h", 3600.0, ""),
        ("# a lamplighter-deadline: 30s", 60.0, ""),
        ("# lamplighter-deadline: soon", 60.0, "'soon': expected a duration"),
        ("# lamplighter-deadline: 0", 60.0, "expected more than 0 s"),
        ("\n" * 20 + "# lamplighter-deadline: 30s", 60.0, ""),
    ],
)
def test_a_program_says_how_long_it_may_take(
    tmp_path: Path, line: str, deadline: float, problem: str
) -> None:
    put(tmp_path, "10-a", f"#!/bin/sh\n{line}\nexit 0\n")
    (found,), problems = find_programs(str(tmp_path), 60.0, OWNERS)
    assert found.deadline == deadline
    assert [problem in told for told in problems] == ([True] if problem else [])


def scripts(tmp_path: Path, children: Children) -> tuple[Scripts, Notes]:
    notes = Notes()
    places = Paths(etc=str(tmp_path), run=str(tmp_path))
    state = RunStateFile(places.state, places.proc, notes)
    return Scripts(places, 60.0, children, state, notes), notes


def finish(children: Children, pid: int) -> tuple[int, int]:
    """Wait for a child; others may have been left by other tests."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid, dict(children.reap())[pid]


def pid_of(scripts: Scripts) -> int:
    (pid,) = scripts._running
    return pid


def test_a_script_gets_the_request_and_is_run_once(tmp_path: Path) -> None:
    told = tmp_path / "told"
    text = f'#!/bin/sh\necho "$1 $LAMPLIGHTER_REQUEST" > {told}\nexit 3\n'
    put(tmp_path / "shutdown.d", "10-a", text)
    put(tmp_path / "shutdown.d", "20-b", "no program at all")
    children = Children()
    first, notes = scripts(tmp_path, children)
    assert [(script.name, script.deadline) for script in first.find()] == [
        ("10-a", 60.0),
        ("20-b", 60.0),
    ]
    assert first.start("10-a", "reboot") is None
    assert first.ended(*finish(children, pid_of(first))) == ("10-a", "exit status 3")
    assert first.ended(1, 0) is None
    assert told.read_text() == "reboot reboot\n"
    assert first.start("20-b", "reboot") == "it cannot be started: Exec format error"
    again, notes = scripts(tmp_path, children)
    assert again.find() == ()
    assert notes.lines == [f"{n} was begun before: it is not run again" for n in ("10-a", "20-b")]


def test_who_comes_later_waits_for_a_script_that_still_runs(tmp_path: Path) -> None:
    put(tmp_path / "shutdown.d", "10-a", "#!/bin/sh\nexec sleep 1000\n")
    put(tmp_path / "shutdown.d", "20-b")
    mine = Children()
    first, _ = scripts(tmp_path, mine)
    first.find()
    first.start("10-a", "reboot")
    theirs = Children()
    later, notes = scripts(tmp_path, theirs)
    (a, b) = later.find()
    assert a.name == "10-a"
    assert 0.0 < a.deadline <= 60.0
    assert b == ("20-b", 60.0)
    assert notes.lines == ["10-a was begun before and still runs: it is waited for"]
    assert later.wake == float("inf")
    assert later.start("10-a", "reboot") is None
    assert later.wake < float("inf")
    assert later.gone() == []
    later.end("10-a", 100.0)
    assert theirs.wake == 100.0 + LAST_CHANCE
    os.waitid(os.P_PID, pid_of(first), os.WEXITED | os.WNOWAIT)  # a zombie is none that runs
    assert later.gone() == [], "but what it started has five seconds, too"
    theirs.kill_overdue(100.0 + LAST_CHANCE)
    assert later.gone() == [("10-a", UNSEEN)]
    assert theirs.wake == later.wake == float("inf")
    assert later.start("10-a", "reboot") == UNSEEN
    assert first.ended(*finish(mine, pid_of(first))) == ("10-a", "killed by SIGTERM")


def test_a_script_that_somebody_else_began_meanwhile_is_not_run_twice(tmp_path: Path) -> None:
    put(tmp_path / "shutdown.d", "10-a")
    children = Children()
    (first, _), (other, _) = (scripts(tmp_path, children) for _ in range(2))
    assert len(first.find()) == len(other.find()) == 1
    assert other.start("10-a", "reboot") is None
    finish(children, pid_of(other))
    assert first.start("10-a", "reboot") == UNSEEN


@pytest.mark.parametrize("note", ["", " 1 2", " OURS 1 9e9", " 1 x 2", " -1 0 0"])
def test_another_process_is_not_taken_for_a_script(tmp_path: Path, note: str) -> None:
    put(tmp_path / "shutdown.d", "10-a")
    ours = note.replace("OURS", str(os.getpid()))
    heading = f"boot {Path('/proc', BOOT_ID).read_text()}"
    (tmp_path / "state").write_text(f"{heading}script 10-a{ours}\n")
    later, notes = scripts(tmp_path, Children())
    assert later.find() == ()
    assert notes.lines == ["10-a was begun before: it is not run again"]


def test_what_was_begun_in_another_boot_was_not_begun(tmp_path: Path) -> None:
    """Where /run is on a disk, a file there outlives the boot that it tells of."""
    put(tmp_path / "shutdown.d", "10-a")
    for name in ("proc", "proc2"):
        boot_id = tmp_path / name / BOOT_ID
        boot_id.parent.mkdir(parents=True)
        boot_id.write_text(f"5a3c-of-{name}\n")
    places = Paths(etc=str(tmp_path), run=str(tmp_path))
    children = Children()
    for turn in ("proc", "proc2"):
        first, again = (
            Scripts(
                places,
                60.0,
                children,
                RunStateFile(places.state, str(tmp_path / turn), Notes()),
                Notes(),
            )
            for _ in range(2)
        )
        assert [script.name for script in first.find()] == ["10-a"]
        assert first.start("10-a", "poweroff") is None
        finish(children, pid_of(first))
        assert again.find() == ()
    assert (tmp_path / "state").read_text().startswith("boot 5a3c-of-proc2\nscript 10-a")


def inherited_pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, theirs > 0)
    return ours, theirs


def test_a_script_that_is_out_of_time_is_ended_with_all_it_started(tmp_path: Path) -> None:
    ours, theirs = inherited_pipe()  # it hangs up with the last of the group
    text = f"#!/bin/sh\ntrap '' TERM\necho >/proc/self/fd/{theirs}\nsleep 1000 &\nwait\n"
    put(tmp_path / "shutdown.d", "10-a", text)
    children = Children()
    running, _ = scripts(tmp_path, children)
    running.find()
    running.start("10-a", "poweroff")
    os.close(theirs)
    assert os.read(ours, 1) == b"\n"
    running.end("20-b", 100.0)
    assert children.wake == float("inf")
    running.end("10-a", 100.0)
    assert children.wake == 100.0 + LAST_CHANCE
    children.kill_overdue(100.0 + LAST_CHANCE)
    assert children.wake == float("inf")
    assert running.ended(*finish(children, pid_of(running))) == ("10-a", "killed by SIGKILL")
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_what_a_group_leaves_behind_gets_its_last_chance(tmp_path: Path) -> None:
    ours, theirs = inherited_pipe()
    program = put(tmp_path, "a", "#!/bin/sh\n(trap '' TERM; exec sleep 1000) &\necho; wait\n")
    children = Children()
    pid = children.start([str(program)], os.environ, theirs)
    os.close(theirs)
    assert os.read(ours, 1) == b"\n"
    children.end(pid, 100.0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert children.reap() == [], "what it called has its five seconds, too"
    assert children.wake < inf
    children.kill_overdue(100.0 + LAST_CHANCE)
    assert children.reap() == [(pid, -signal.SIGTERM)]
    assert os.read(ours, 1) == b""
    assert children.wake == inf
    os.close(ours)


def test_what_a_group_leaves_behind_may_tidy_up(tmp_path: Path) -> None:
    ours, theirs = inherited_pipe()
    child = f"(trap 'echo >{tmp_path}/tidy; exit' TERM; echo; while :; do sleep 0.1; done)"
    program = put(tmp_path, "a", f"#!/bin/sh\n{child} &\nwait\n")
    children = Children()
    pid = children.start([str(program)], os.environ, theirs)
    os.close(theirs)
    assert os.read(ours, 1) == b"\n"
    children.end(pid, 100.0)
    assert os.read(ours, 1) == b"", "all of the group has ended, and nobody was killed"
    os.close(ours)
    assert (tmp_path / "tidy").exists()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    children.kill_overdue(100.0 + LAST_CHANCE)  # init may not have reaped it yet
    assert children.reap() == [(pid, -signal.SIGTERM)]
    assert children.wake == inf


BUSYBOX = "/sbin:/usr/sbin:/bin:/usr/bin"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (BUSYBOX, f"{BUSYBOX}:/usr/local/sbin:/usr/local/bin"),
        (f"/usr/local/bin:{BUSYBOX}", f"/usr/local/bin:{BUSYBOX}:/usr/local/sbin"),
        (f"/usr/local/sbin:/usr/local/bin:{BUSYBOX}", f"/usr/local/sbin:/usr/local/bin:{BUSYBOX}"),
        ("", "/usr/local/sbin:/usr/local/bin"),
        (None, f"{os.defpath}:/usr/local/sbin:/usr/local/bin"),
    ],
)
def test_a_script_finds_the_agent_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None, expected: str
) -> None:
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path)
    put(tmp_path / "shutdown.d", "10-a", f'#!/bin/sh\necho "$PATH" > {tmp_path}/told\n')
    children = Children()
    running, _ = scripts(tmp_path, children)
    running.find()
    assert running.start("10-a", "poweroff") is None
    assert running.ended(*finish(children, pid_of(running))) == ("10-a", None)
    assert (tmp_path / "told").read_text() == f"{expected}\n"


def test_memory_is_taken_from_a_script_as_from_any_other_program() -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    children = Children()
    own.write_text("500")  # everybody may do so; back again as well
    try:
        pid = children.start(["sleep", "1000"], os.environ)
        told = Path(f"/proc/{pid}/oom_score_adj").read_text()
    finally:
        own.write_text(before)
    children.end(pid, 0.0)
    finish(children, pid)
    assert told == "0\n"


def test_how_a_program_ended_is_reported() -> None:
    assert problem_of(0) is None
    assert problem_of(7) == "exit status 7"
    assert problem_of(-signal.SIGKILL) == "killed by SIGKILL"
    assert problem_of(-60) == "killed by signal 60"
