"""The exit statuses, each of a real command: a process, at an embedded host of its own.

The table is the design's, line by line; ``WAYS`` says how each one comes about.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.shell import HOST, QUICK, Shell, configure, write_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABLE = {
    0: "everything that was wanted holds",
    1: "the run finished, but a domain failed, was forced where clean was asked, or is unknown",
    2: "the command line is wrong",
    69: "the toolstack or XenStore cannot be reached",
    75: "another run holds the host (who, since when)",
    78: "the configuration is wrong (file, line or key, what was expected)",
}

CONFIGURATION = f"""\
{HOST}call_timeout = "5s"

[domain.web]
start = "always"

[domain.hangs]
stop_timeout = "5s"
"""

DEFINITIONS = {
    "web": QUICK,
    "huge": QUICK.replace("64", "9000000"),
    "hangs": 'memory = 64\nembedded_boot = "1s"\nembedded_guest = "hangs"\n',
    "slow": 'memory = 64\nembedded_boot = "1s"\nembedded_guest = "slow"\n'
    'embedded_shutdown = "100s"\n',
}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    write_host(tmp_path, CONFIGURATION, DEFINITIONS)
    shell = Shell(tmp_path)
    shell.boot()
    yield shell
    configure(tmp_path, CONFIGURATION)
    shell.type("host", "stop")


class Way(NamedTuple):
    """How an exit status comes about: what happened before, the command, and what it tells."""

    status: int
    words: tuple[str, ...]
    told: str
    before: Callable[[Shell], None] = lambda shell: None


def up(*names: str) -> Callable[[Shell], None]:
    def start(shell: Shell) -> None:
        assert shell.type("up", *names).returncode == 0

    return start


def cannot_list(shell: Shell) -> None:
    up("web")(shell)
    assert shell.type("host", "fault", "list", "fail", "--times", "99").returncode == 0


def host_is_gone(shell: Shell) -> None:
    assert shell.type("host", "stop").returncode == 0


def no_such_key(shell: Shell) -> None:
    configure(shell.folder, CONFIGURATION + 'stop_timeuot = "5s"\n')


WAYS = {
    "what was wanted came up": Way(0, ("up",), "1 started"),
    "what was wanted ended cleanly": Way(0, ("down",), "1 clean", up("web")),
    "nothing was wanted": Way(0, ("down",), "no domain is running"),
    "a domain failed": Way(1, ("up", "web", "huge"), "1 started, 1 failed"),
    "a domain was forced": Way(1, ("down",), "1 clean, 1 forced", up("web", "hangs")),
    "no such command": Way(2, ("upp",), "did you mean up?"),
    "no such option": Way(2, ("down", "--jsn"), "did you mean --json?"),
    "no such domain": Way(2, ("up", "wbe"), "did you mean web?"),
    "the toolstack cannot list": Way(69, ("down",), "the domains cannot be listed", cannot_list),
    "the host is not there": Way(69, ("up",), "lamplighter host start", host_is_gone),
    "a key is wrong": Way(78, ("down",), "lamplighter.toml:13:1", no_such_key),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_command_exits_as_the_table_says(shell: Shell, way: str) -> None:
    expected = WAYS[way]
    expected.before(shell)
    ended = shell.type(*expected.words)
    assert ended.returncode == expected.status, (TABLE[expected.status], ended)
    assert expected.told in ended.stdout + ended.stderr


def test_1_a_domain_whose_end_nobody_saw_is_unknown(shell: Shell) -> None:
    up("slow", "web")(shell)
    stop = shell.begin("down")
    assert shell.type("host", "fault", "list", "fail", "--times", "999").returncode == 0
    out, err = stop.communicate(timeout=60)
    assert stop.returncode == 1, err
    assert "unknown" in out


def test_75_says_who_holds_the_host_and_since_when(shell: Shell) -> None:
    up("slow")(shell)
    stop = shell.begin("down")
    try:
        ended = shell.type("up")
        assert ended.returncode == 75, TABLE[75]
        assert f"another run holds this host: down (pid {stop.pid}, " in ended.stderr
        assert ", since 20" in ended.stderr
    finally:
        stop.send_signal(signal.SIGINT)
        stop.communicate(timeout=60)


def test_every_line_of_the_table_is_shown() -> None:
    assert {*(way.status for way in WAYS.values()), 75} == set(TABLE)
