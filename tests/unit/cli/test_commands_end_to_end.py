"""The commands as somebody types them: each a process, at an embedded host of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.shell import HOST, LAMPLIGHTER, QUICK, Shell, outcomes, write_host

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = f"""\
{HOST}
[defaults]
stop_timeout = "9999s"

[domain.prompt]
start = "always"
"""

#: It outlasts every test.
SLEEPY = 'memory = 64\nembedded_guest = "slow"\nembedded_boot = "1s"\nembedded_shutdown = "9000s"\n'

DEFINITIONS = {
    "prompt": QUICK,
    "sleepy-2": SLEEPY,
    "sleepy-15": SLEEPY,
    "naïve": QUICK,
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("host")
    write_host(folder, CONFIGURATION, DEFINITIONS)
    shell = Shell(folder)
    shell.boot()
    yield shell
    assert shell.type("host", "stop").returncode == 0


def test_up_status_plan_down_history_agree(shell: Shell) -> None:
    up = shell.ask("up")
    assert outcomes(up) == {
        "prompt": "started",
        "naïve": "skipped",
        "sleepy-2": "skipped",
        "sleepy-15": "skipped",
    }
    assert shell.ask("up", "naïve")["exit"] == 0
    seen = {entry["name"]: entry["seen"] for entry in shell.ask("status")["domains"]}
    assert seen == {
        "prompt": "running",
        "naïve": "running",
        "sleepy-2": "absent",
        "sleepy-15": "absent",
    }
    verbs = {step["name"]: step["verb"] for step in shell.ask("plan", "down")["steps"]}
    assert verbs == {"prompt": "stop", "naïve": "stop"}
    assert outcomes(shell.ask("down")) == {"prompt": "clean", "naïve": "clean"}
    assert [run["direction"] for run in shell.ask("history")["runs"][:3]] == ["down", "up", "up"]
    assert shell.ask("status", status=1)["exit"] == 1


def test_the_log_is_as_talkative_as_is_wanted_and_the_answer_is_the_same(shell: Shell) -> None:
    for options, shown, more in (((), True, False), (("-q",), False, False), (("-v",), True, True)):
        up = shell.type(*options, "up", "prompt")
        assert up.returncode == 0
        assert "1 started" in up.stdout
        assert ("= started" in up.stderr) is shown
        for word in (
            "connected to XenStore at",
            "call list ended after",
            "listing 1 of the domains",
        ):
            assert (word in up.stderr) is more, up.stderr
        assert shown or up.stderr == ""
        assert shell.ask("down")["exit"] == 0


def test_an_answer_without_a_reader_is_no_traceback(shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*LAMPLIGHTER, "status"],
        env=shell.environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stop_in_order_and_another_run_is_told_who_holds_the_host(
    shell: Shell, number: signal.Signals
) -> None:
    name = f"sleepy-{number.value}"
    assert shell.ask("up", name)["exit"] == 0
    stop = shell.begin("down", name)
    busy = shell.ask("up", "prompt", status=75)
    assert str(stop.pid) in busy["error"]["message"]
    stop.send_signal(number)
    out, err = stop.communicate(timeout=30)
    assert stop.returncode == 128 + number, err
    assert "interrupted" in err
    assert "unknown" in out
    (last,) = shell.ask("history", "--limit", "1")["runs"]
    assert last["ended"] is not None
    assert outcomes(last) == {name: "unknown"}


def test_a_host_that_does_not_run_is_not_a_host_without_domains(shell: Shell) -> None:
    elsewhere = shell.folder.parent / "elsewhere.toml"
    elsewhere.write_text('[host]\ntoolstack = "embedded"\nrun = "nowhere"\nstate = "none"\n')
    ended = shell.type("--config", str(elsewhere), "status")
    assert ended.returncode == 69
    assert ended.stdout == "no domain is defined\n"
    assert "lamplighter host start" in ended.stderr


def test_a_toolstack_that_cannot_list_leaves_the_domains_unknown(shell: Shell) -> None:
    assert shell.type("host", "fault", "list", "fail").returncode == 0
    answer = shell.ask("status", status=69)
    assert answer["error"]["code"] == "toolstack-unreachable"
    assert answer["error"]["message"].startswith("the domains cannot be listed: ")
    assert {entry["seen"] for entry in answer["domains"]} == {"unknown"}


@pytest.mark.parametrize(
    ("words", "missing"), [(("plan",), "up|down"), (("host",), "start|stop|status")]
)
def test_only_what_is_missing_is_asked_for(
    shell: Shell, words: tuple[str, ...], missing: str
) -> None:
    ended = shell.type(*words)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0].endswith(f"arguments are required: {missing}")


@pytest.mark.parametrize("words", [("status",), ("--json", "status"), ("--json", "up", "nobody")])
def test_an_answer_that_does_not_fit_on_the_disk_is_an_error(
    shell: Shell, words: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [*LAMPLIGHTER, *words],
            env=shell.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode in (1, 2)
    assert ended.stderr.splitlines()[-1].endswith(
        "the answer cannot be written: No space left on device"
    )
    assert "Traceback" not in ended.stderr
