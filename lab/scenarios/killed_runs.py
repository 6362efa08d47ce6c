"""`up` and `down` are killed at any moment: the same command again ends where it would have.

Each is killed twice in a row, at another moment each time, before it may end: so every second kill
meets a run that has just begun to take up what the first one left behind.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from lab.steps import ends, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.dom0 import Dom0

    Check = Callable[[Dom0, dict[str, int], str], None]

SUBJECT = (
    "src/lamplighter/engine/recovery.py",
    "src/lamplighter/host/lock.py",
    "src/lamplighter/host/programs.py",
    "src/lamplighter/service/run/prepare.py",
)
SHARE = 0
SECONDS = 230
DEADLINE = 1500.0
USUALLY = {"trixie"}
NAMES = ("db", "web")
#: So many kills of `up`, and as many of `down`.
KILLS = 8
GOOD = {"up": {"started", "already"}, "down": {"clean"}}


def run(host: Dom0) -> None:
    chance = random.Random(f"killed runs on {host.variant.name}")
    for name in NAMES:
        host.define(name, "prompt", on_xend_start="start")
    up, down = host.lamplighter("up"), host.lamplighter("down", timeout=200)
    assert (up.status, down.status) == (0, 0), f"{up}\n{down}"
    killed = 0
    for number in range(0, KILLS, 2):
        parts = [(number + twice + chance.random()) / KILLS for twice in (0, 1)]
        killed += _kill(host, "up", [part * up.seconds for part in parts], _check_up)
        killed += _kill(host, "down", [part * down.seconds for part in parts], _check_down)
    assert killed >= KILLS, f"only {killed} of {2 * KILLS} runs were in the middle"
    _history_is_complete(host)


def _kill(host: Dom0, command: str, moments: list[float], check: Check) -> int:
    """Kill a run at each of these moments (in seconds), and run it again; say how many died."""
    after = " and ".join(f"{moment:.2f} s" for moment in moments)
    what = f"lamplighter {command}, killed after {after}"
    killed, left = 0, host.domids()
    for moment in moments:
        line = f"lamplighter {command} >/dev/null 2>&1 & sleep {moment:.2f}; kill -KILL $!; wait $!"
        killed += host.run(line, check=False).status == 137
        before, left = left, host.domids()
        assert command == "down" or before.items() <= left.items(), f"{what}: {before}, {left}"
    again = host.lamplighter(command, timeout=200)
    assert again.status == 0, f"{what}: {again}"
    check(host, left, what)
    return killed


def _check_up(host: Dom0, left: dict[str, int], what: str) -> None:
    now = host.domids()
    assert set(now) == set(NAMES), f"{what}: {left} became {now}"
    assert {name: now[name] for name in left} == left, f"{what}: {left} became {now}"
    _nothing_else(host, len(NAMES), what)


def _check_down(host: Dom0, left: dict[str, int], what: str) -> None:
    assert host.domids() == {}, f"{what}: {left} became {host.domids()}"
    _nothing_else(host, 0, what)


def _nothing_else(host: Dom0, guests: int, what: str) -> None:
    """No second incarnation, no domain half built or half gone."""
    listed = host.run("xl list").stdout.splitlines()
    assert len(listed) == guests + 2, f"{what}: {listed}"


def _history_is_complete(host: Dom0) -> None:
    """Each run has ended; one that was not killed reports all, with the dead runs before it."""
    runs = runs_of(host, limit=10 * KILLS)
    story: list[dict[str, Any]] = []
    for run in reversed(runs):
        assert run["ended"] is not None, run
        story.append(run)
        if run["exit"] is not None:
            _tells(story)
            story = []
    assert not story, "the last one was killed"


def _tells(story: list[dict[str, Any]]) -> None:
    """Check that each domain ended as wanted, and that none was forced.

    A stop reports nothing about a domain that has gone already.
    """
    command = story[-1]["direction"]
    ended = [ends(run) for run in story]
    for name in NAMES:
        outcomes = {run[name]["outcome"] for run in ended if name in run}
        assert outcomes & GOOD[command] or (command == "down" and not outcomes), f"{name}: {story}"
        assert not outcomes & {"forced", "failed"}, f"{name}: {story}"
