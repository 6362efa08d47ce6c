"""The agent in one file, on every Python here, against a real XenStore server; nothing is ended."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter import __version__
from lamplighter.guest import commands
from lamplighter.guest.clock import now
from lamplighter.guest.config import Paths
from tests.agent import PATIENCE, Agent, interpreters, program, until
from tests.store_thread import StoreThread

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = "control/shutdown"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with StoreThread(tmp_path / "s") as store:
        agent = Agent(tmp_path / "agent", store.path)
        yield agent
        agent.stop()
        agent.bus.close()


@pytest.mark.parametrize("python", interpreters())
def test_a_whole_shutdown(tmp_path: Path, python: str) -> None:
    with StoreThread(tmp_path / "s") as store:
        agent = Agent(tmp_path / "agent", store.path, python)
        (agent.etc / "agent.conf").write_text("deadline = 1h\ngrace = 100ms\nnonsense = 3\n")
        say = " ".join([python, "-IS", str(program()), "say", *agent.places])
        agent.script("shutdown.d", "10-db", f"{say} --percent 40 stopping db; echo was $1 >&2")
        agent.script("shutdown.d", "20-bad", "exit 3")
        with agent:
            assert agent.word("version") == f"1 {__version__}"
            assert agent.word("ready") == "1"
            agent.bus.write(REQUEST, b"poweroff")
            agent.bus.write("data/lamplighter/asked", b"poweroff 180")
            until(lambda: "start" in agent.rehearsal.read_text(), "the system's shutdown")
            assert agent.word("progress") == "- the system is stopping its services"
            agent.bus.write("data/lamplighter/answer", b"x1 granted 1")
            until(lambda: "reboot" in agent.rehearsal.read_text(), "the force")
            assert agent.bus.read(REQUEST) == b""
            assert re.fullmatch(r"poweroff not off after \d+ s", agent.word("forced"))
            lines = agent.rehearsal.read_text().splitlines()
            assert lines == ["start /sbin/poweroff", "sync", "reboot 0x4321fedc"]
        log = agent.log.read_text()
        assert "agent.conf:3: there is no key 'nonsense'" in log
        assert "acknowledged the poweroff: the kernel did not" in log
        assert "was poweroff" in log
        assert "20-bad: exit status 3" in log


def test_inits_hook_waits_for_the_scripts(agent: Agent) -> None:
    (agent.etc / "agent.conf").write_text("deadline = never\n")
    agent.script("shutdown.d", "10-a", f"echo $LAMPLIGHTER_REQUEST > {agent.folder}/ran")
    agent.start()
    ended = agent.type("stopping", "reboot")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (agent.folder / "ran").read_text() == "reboot\n"
    assert agent.word("progress") == "- the system is stopping its services"
    assert agent.type("stopping", "reboot").returncode == 0  # it is over already
    assert agent.rehearsal.read_text() == ""  # the system's shutdown is not the agent's to begin


def test_inits_hook_runs_the_scripts_where_there_is_no_daemon(agent: Agent) -> None:
    agent.script("shutdown.d", "10-a", f"echo $1 > {agent.folder}/ran")
    agent.script("shutdown.d", "20-b", "# lamplighter-deadline: 200ms\nexec sleep 1000")
    (agent.folder / "run").mkdir()
    ended = agent.type("stopping", "poweroff")
    assert (agent.folder / "ran").read_text() == "poweroff\n"
    assert "no lamplighter-agent answers" in ended.stderr
    assert "20-b: killed by SIGTERM" in ended.stderr
    assert ended.returncode == 1
    again = agent.type("stopping", "poweroff")
    assert "10-a was begun before" in again.stderr


def test_a_guest_is_ready_when_its_checks_pass(agent: Agent) -> None:
    flag = agent.folder / "flag"
    agent.script("ready.d", "10-flag", f"test -e {flag}")
    agent.script("ready.d", "20-b", f"touch {flag}.b")
    agent.start()
    until(lambda: agent.word("ready") == "0 10-flag: exit status 1", "the check's word")
    assert not flag.with_suffix(".b").exists()
    flag.touch()
    until(lambda: agent.word("ready") == "1", "readiness")
    assert flag.with_suffix(".b").exists()


def test_more_time_is_asked_for_and_moves_the_guard(agent: Agent) -> None:
    (agent.etc / "agent.conf").write_text("deadline = 1h\n")
    agent.start()
    agent.bus.write("data/lamplighter/asked", b"poweroff 1000")
    until(lambda: agent.told("the host asks and the kernel took it"), "the shutdown")
    agent.bus.write("data/lamplighter/answer", b"x1 granted 1")
    until(lambda: "reboot" in agent.rehearsal.read_text(), "the force")
    assert agent.told("more time was granted: 1 s are left")


def test_the_answer_to_more_is_printed(agent: Agent) -> None:
    for answer, status, told in (
        ("granted 210", 0, "granted: 210 s are left\n"),
        ("refused it is late", 1, "refused: it is late\n"),
    ):
        asking = subprocess.Popen(
            [agent.python, "-IS", program(), "more", *agent.places, "90s", "rolling", "back"],
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: agent.word("more").endswith(" 90 rolling back"), "the question")
        agent.bus.write(
            "data/lamplighter/answer", f"{agent.word('more').split()[0]} {answer}".encode()
        )
        out, _ = asking.communicate(timeout=30)
        assert (asking.returncode, out) == (status, told)
        agent.bus.remove("data/lamplighter/more")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_question_whose_asker_is_ended_is_taken_back(
    agent: Agent, number: signal.Signals
) -> None:
    asking = agent.begin("more", "90s")
    until(lambda: agent.word("more").endswith(" 90"), "the question")
    asking.send_signal(number)
    _, told = asking.communicate(timeout=PATIENCE)
    assert (asking.returncode, told) == (128 + number, "")
    assert agent.bus.read("data/lamplighter/more") is None


def test_a_question_that_nobody_answers_is_taken_back(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TIMEOUT", 0.0)
    kept = {number: signal.getsignal(number) for number in commands.ENDED_BY}
    told: list[str] = []
    try:
        places = Paths(xenstore=agent.bus.place)
        assert commands.more(places, "90s", "", told.append) == commands.NOBODY
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert told[0].startswith("nobody answered")
    assert agent.bus.read("data/lamplighter/more") is None


def test_nodes_that_went_with_a_migration_are_written_again(agent: Agent) -> None:
    agent.start()
    agent.bus.remove("data/lamplighter")
    agent.bus.write(REQUEST, b"")  # what the kernel's watches do when they are set again
    until(lambda: agent.word("version") == f"1 {__version__}", "the version")  # the last of all
    assert agent.word("ready") == "1"


def test_the_nodes_of_an_earlier_agent_are_removed_unless_it_still_ends(agent: Agent) -> None:
    words = ("progress", "more", "forced")

    def stand() -> list[str]:
        return [name for name in words if agent.word(name)]

    for name in words:
        agent.bus.write(f"data/lamplighter/{name}", b"k1 60 x")
    agent.start()
    assert stand() == []
    agent.stop()
    for name in words:
        agent.bus.write(f"data/lamplighter/{name}", b"k1 60 x")
    (agent.folder / "run").mkdir(exist_ok=True)
    os.mkfifo(agent.folder / "run" / "guard")
    guard = os.open(agent.folder / "run" / "guard", os.O_RDWR | os.O_NONBLOCK)
    agent.start()
    assert stand() == list(words)
    os.close(guard)


def test_help_for_run() -> None:
    told = subprocess.run(
        [interpreters()[0], program(), "run", "--help"], capture_output=True, text=True, check=True
    )
    assert "--rehearse FILE" in told.stdout


def test_an_agent_that_leaves_takes_nothing_along(agent: Agent) -> None:
    (agent.etc / "agent.conf").write_text("deadline = 1500ms\n")
    agent.script("shutdown.d", "10-a", f"echo begun >&2; sleep 0.5; touch {agent.folder}/ran")
    agent.start()
    agent.bus.write("data/lamplighter/asked", b"reboot 1000")
    until(lambda: agent.told("begun"), "the script")
    assert agent.process is not None
    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait()
    agent.process = None
    until((agent.folder / "ran").exists, "the script's end")
    until(lambda: "reboot 0x01234567" in agent.rehearsal.read_text(), "the force")


@pytest.mark.parametrize("note", [True, False])
def test_an_agent_that_is_killed_after_it_took_a_request_is_followed(
    agent: Agent, *, note: bool
) -> None:
    (agent.etc / "agent.conf").write_text("grace = 100ms\ndeadline = 1h\n")
    wait = f"while ! test -e {agent.folder}/flag; do sleep 0.05; done"
    agent.script("shutdown.d", "10-a", f"echo begun >&2; {wait}")
    agent.start()
    for number in (1, 2):  # the second one changes nothing of it
        agent.bus.write(REQUEST, b"poweroff")
        if note:  # after the request: a note without one says that the kernel took it
            agent.bus.write("data/lamplighter/asked", b"poweroff 1000 %d" % number)
        until(lambda: agent.bus.read(REQUEST) == b"", "the acknowledgement")
    until(lambda: agent.told("begun"), "the script")
    until(lambda: "\nrequest poweroff taken\n" in agent.note("state"), "the note")
    assert agent.process is not None
    agent.process.kill()
    agent.process.wait()
    agent.start()
    until(lambda: agent.told("acknowledged here, and nobody has begun it"), "the second agent")
    (agent.folder / "flag").touch()
    until(lambda: agent.rehearsal.read_text() == "start /sbin/poweroff\n", "the shutdown")
    until(lambda: "\nrequest" not in agent.note("state"), "the end of the note")


def test_a_restart_after_a_grant_moves_the_end_nowhere(agent: Agent) -> None:
    (agent.etc / "agent.conf").write_text("deadline = 100s\n")
    agent.start()
    agent.bus.write("data/lamplighter/asked", b"poweroff 1000")
    until(lambda: agent.told("the host asks and the kernel took it"), "the shutdown")
    agent.bus.write("data/lamplighter/answer", b"x1 granted 900")
    until(lambda: agent.told("900 s are left"), "the grant")
    until(lambda: 880.0 < _time_left(agent) < 900.0, "the order")
    granted = agent.note("guard-order")
    assert agent.process is not None
    agent.process.kill()
    agent.process.wait()
    agent.start()
    count = "the host asks and the kernel took it"
    until(lambda: agent.log.read_text().count(count) == 2, "the second agent's shutdown")
    until(lambda: agent.word("progress").endswith("its services"), "its scripts")
    assert agent.note("guard-order") == granted
    agent.process.kill()
    agent.process.wait()
    agent.bus.write("data/lamplighter/answer", b"x2 granted 2000")
    agent.start()
    until(lambda: 1980.0 < _time_left(agent) < 2000.0, "a grant that came while there was no agent")
    # Another run goes on. The grant has lifted the deadline of its own, also for a new agent.
    assert agent.process is not None
    agent.process.kill()
    agent.process.wait()
    agent.start()
    agent.bus.write("data/lamplighter/asked", b"poweroff 3000 2")
    until(lambda: 2980.0 < _time_left(agent) < 3000.0, "the note of another run")
    assert agent.rehearsal.read_text() == ""


def _time_left(agent: Agent) -> float:
    """The seconds until the guard ends the guest; below zero as long as none stands."""
    order = agent.note("guard-order").split()
    return float(order[1]) - now() if order else -1.0


@pytest.mark.parametrize("again", [True, False])
def test_the_script_of_an_agent_that_crashed_is_waited_for(agent: Agent, *, again: bool) -> None:
    (agent.etc / "agent.conf").write_text("deadline = never\n")
    wait = f"while ! test -e {agent.folder}/flag; do sleep 0.05; done"
    agent.script("shutdown.d", "10-a", f"echo begun >&2; {wait}; touch {agent.folder}/ran")
    agent.script("shutdown.d", "20-b", f"test -e {agent.folder}/ran && touch {agent.folder}/next")
    agent.start()
    agent.bus.write("data/lamplighter/asked", b"reboot 1000")
    until(lambda: "\nscript 10-a " in agent.note("state"), "the script's note")
    assert agent.process is not None
    agent.process.kill()
    agent.process.wait()
    agent.process = None
    if again:
        agent.start()
        until(lambda: agent.told("10-a was begun before and still runs"), "the second agent")
    hook = agent.begin("stopping", "reboot")
    if not again:
        assert hook.stderr is not None
        until(lambda: "still runs" in hook.stderr.readline(), "the hook's look")
    assert hook.poll() is None
    (agent.folder / "flag").touch()
    hook.communicate(timeout=PATIENCE)
    assert (agent.folder / "next").exists()


def test_there_is_one_agent_at_a_time(agent: Agent) -> None:
    agent.start()
    first = agent.process
    second = agent.type("run", "--rehearse", str(agent.rehearsal))
    assert second.returncode == 1
    assert "another lamplighter-agent runs" in second.stderr
    assert first is not None
    assert first.poll() is None


def test_xenstore_that_went_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with StoreThread(path) as store:
        agent = Agent(tmp_path / "agent", store.path)
        agent.start()
    until(lambda: agent.told("the connection to XenStore"), "the loss")
    with StoreThread(path):
        agent = _again(agent, path)
        until(lambda: agent.word("ready") == "1", "readiness")
        agent.stop()
        agent.bus.close()


def _again(agent: Agent, path: Path) -> Agent:
    agent.bus.close()
    agent.bus = type(agent.bus)(str(path))
    return agent


def test_an_idle_agent_sleeps(agent: Agent) -> None:
    agent.start()
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status")
    until(lambda: agent.word("ready") == "1", "readiness")
    agent.bus.write("data/lamplighter/asked", b"halt 1000")  # it goes, so it looks no more
    until(lambda: agent.word("progress").startswith("- the system is"), "the shutdown")
    until(lambda: _rests(status), "rest")
    assert _rests(status)


def _rests(status: Path) -> bool:
    """Whether it does nothing for a while. One that gets no processor is not asleep."""
    before = _switches(status)
    select.poll().poll(300)
    return "S (sleeping)" in status.read_text() and _switches(status) == before


def _switches(status: Path) -> str:
    return "".join(line for line in status.read_text().splitlines() if "voluntary" in line)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ((), 2, "no command is given"),
        (("stop",), 2, "there is no command 'stop'"),
        (("run", "--color"), 2, "run has no option '--color'"),
        (("run", "--etc"), 2, "--etc needs a path"),
        (("say",), 2, "required: text"),
        (("say", "--percent", "101", "x"), 2, "from 0 to 100"),
        (("more", "soon"), 2, "'soon': expected a duration"),
        (("more", "3d"), 2, "from 1 s to 86400 s"),
        (("say", "--xenstore", "/nonexistent", "x"), 69, "cannot be opened: No such file"),
        (("stopping", "sleep"), 2, "invalid choice"),
        (("install", "--root", "/nonexistent"), 2, "there is no folder /nonexistent"),
    ],
)
def test_mistakes_are_reported(words: tuple[str, ...], status: int, told: str) -> None:
    ended = subprocess.run(
        [interpreters()[0], program(), *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == status
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
