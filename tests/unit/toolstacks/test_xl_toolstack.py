"""The xl toolstack, with an xl that is a script of the test's."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import CallFailed, CallNotStarted, CallTimedOut, ToolstackUnreachable
from lamplighter.host import programs
from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd import scopes
from lamplighter.model.domain import Definition, DomainInfo, Kind, ShutdownReason
from lamplighter.toolstacks import xl as module
from lamplighter.toolstacks.xl import XlToolstack
from tests.systemd import Systemd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import TypeVar

    T = TypeVar("T")

SAMPLES = Path(__file__).parents[3] / "lab" / "samples" / "bookworm"
LISTS = f"""\
case "$*" in
"list -v") cat {SAMPLES}/list-v.txt ;;
"""
PROMPT = UUID("00000000-0000-4000-8000-000000000001")
CALL_TIMEOUT = 40.0
WEB = Definition("prompt", PROMPT, Kind.PV, "/etc/xen/web.cfg")


class Lab:
    """A folder with programs, and a toolstack that finds no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_path = folder / "calls"
        self.toolstack = self.with_deadline(CALL_TIMEOUT)

    def with_deadline(self, seconds: float) -> XlToolstack:
        """A toolstack whose calls may take so long; real seconds are four of its own."""
        return XlToolstack(
            LoopClock(4),
            call_timeout=seconds,
            path=str(self.folder),
            logs=self.folder / "logs",
            records=self.folder / "records",
            systemd=self.folder / "systemd",
            systemd_socket=self.folder / "private",
        )

    def program(self, script: str, name: str = "xl") -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls_path}\n{script}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.calls_path.read_text().splitlines()

    def record(self, domid: int, uuid: UUID) -> None:
        """Write what libxl writes when a domain has been created."""
        path = self.folder / "records" / f"userdata-d.{domid}.{uuid}.libxl-json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")

    def log(self, name: str, text: str, *, age: float = 0) -> None:
        path = self.folder / "logs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if age:
            then = path.stat().st_mtime - age
            os.utime(path, (then, then))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def do(call: Coroutine[None, None, T]) -> T:
    return asyncio.run(call)


# --- listings ---


def test_a_listing_is_one_call(lab: Lab) -> None:
    lab.program(LISTS + "esac")
    seen = do(lab.toolstack.list())
    assert [(each.domid, each.name) for each in seen][1:3] == [(1, "prompt"), (2, "kept")]
    assert lab.calls == ["xl list -v"]


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo garbage", CallFailed, "heading"),
        ("", CallFailed, "heading"),
        (f"head -1 {SAMPLES}/list-v.txt", CallFailed, "control domain"),
        (f"head -c 500 {SAMPLES}/list-v.txt", CallFailed, "cannot be read"),
        (f"cat {SAMPLES}/list-v.txt; exit 1", CallFailed, "exit status 1"),
        ("kill -TERM $$", CallFailed, "signal 15"),
        ("echo 'cannot init xl context' >&2; exit 1", ToolstackUnreachable, "xl context"),
    ],
)
def test_a_listing_that_failed_is_none(
    lab: Lab, script: str, error: type[CallFailed], says: str
) -> None:
    lab.program(script)
    with pytest.raises(error, match=says) as caught:
        do(lab.toolstack.list())
    assert type(caught.value) is error


def test_a_listing_that_hangs_is_none(lab: Lab) -> None:
    lab.program("sleep 60")
    with pytest.raises(CallTimedOut, match=r"did not end within 0\.4 s"):
        do(lab.with_deadline(0.4).list())


def test_without_an_xl_nothing_is_known(lab: Lab) -> None:
    with pytest.raises(ToolstackUnreachable, match="xl is not in /") as caught:
        do(lab.toolstack.list())
    assert "install" in caught.value.hint


def test_a_folder_that_is_called_xl_is_no_program(lab: Lab) -> None:
    (lab.folder / "xl").mkdir()
    with pytest.raises(ToolstackUnreachable, match="xl is not in /"):
        do(lab.toolstack.list())


def test_each_call_and_how_long_it_lasted_is_logged_for_who_asks(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.program(LISTS + "esac")
    do(lab.toolstack.list())
    assert caplog.messages == []
    caplog.set_level(logging.DEBUG, "lamplighter")
    do(lab.toolstack.list())
    lab.program("sleep 60")
    with pytest.raises(CallTimedOut):
        do(lab.with_deadline(0.4).list())
    ended, failed = caplog.messages
    assert re.fullmatch(r"xl list -v ended after \d+\.\d{3} s", ended)
    assert re.fullmatch(r"xl list -v failed \(CallTimedOut\) after \d+\.\d{3} s", failed)


# --- creating ---


def test_creating_is_one_call(lab: Lab) -> None:
    lab.program("exit 0")
    do(lab.toolstack.create(WEB))
    assert lab.calls == ["xl create -q /etc/xen/web.cfg"]


def test_under_systemd_each_domain_s_process_has_a_scope(lab: Lab) -> None:
    """The process that systemd is told of is the one that becomes xl."""
    (lab.folder / "systemd").mkdir()
    lab.program(f"echo $$ >{lab.folder}/pid")
    with Systemd(lab.folder / "private") as systemd:
        do(lab.toolstack.create(WEB))
    (scope,) = systemd.scopes
    assert scope.unit.startswith("lamplighter-domain-prompt-")
    assert scope.properties["PIDs"] == ("au", [int((lab.folder / "pid").read_text())])
    assert scope.properties["Before"] == ("as", ["lamplighter-domains.service"])
    assert lab.calls == ["xl create -q /etc/xen/web.cfg"]


def test_without_its_scope_no_domain_is_created(lab: Lab) -> None:
    (lab.folder / "systemd").mkdir()
    lab.program("exit 0")
    with (
        Systemd(lab.folder / "private", result="failed"),
        pytest.raises(CallFailed, match="ended as 'failed'"),
    ):
        do(lab.toolstack.create(WEB))
    assert not lab.calls_path.exists()


def test_a_systemd_that_does_not_answer_is_reported_as_that(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.folder / "systemd").mkdir()
    lab.program("exit 0")
    # The scope has half of the call's time; a tenth of a second here, so that a machine that
    # stands still for a while does not let the call's own time be up first.
    monkeypatch.setattr(scopes, "make_scope", partial(_hurried, scopes.make_scope))
    with (
        Systemd(lab.folder / "private", silent=True),
        pytest.raises(CallFailed, match=r"systemd has not answered within 0\.4 s"),
    ):
        do(lab.toolstack.create(WEB))
    assert not lab.calls_path.exists()


async def _hurried(make: Callable[..., Awaitable[None]], *given: object, **more: object) -> None:
    scope, pid, clock, seconds = given
    assert seconds == CALL_TIMEOUT / 2
    await make(scope, pid, clock, seconds / 50, **more)


def test_a_run_that_is_told_to_end_does_not_wait_for_a_scope(lab: Lab) -> None:
    """While systemd stops our unit it makes none, and that waits for this run to end."""
    (lab.folder / "systemd").mkdir()
    lab.program("exit 0")

    async def story() -> None:
        ending, loop = asyncio.Event(), asyncio.get_running_loop()
        told = partial(loop.call_soon_threadsafe, ending.set)
        with Systemd(lab.folder / "private", silent=True, asked=told):
            await lab.toolstack.create(WEB, ending=ending)

    with pytest.raises(CallNotStarted, match="not started: the run was asked to end"):
        do(story())
    assert not lab.calls_path.exists()


def test_a_creation_that_fails_says_why(lab: Lab) -> None:
    lab.program(
        "echo 'Parsing config from /etc/xen/web.cfg' >&2\n"
        "echo 'libxl: error: libxl_domain.c:81:libxl__domain_rename: "
        'Domain 7:Domain with name "web" already exists.\' >&2; exit 3'
    )
    with pytest.raises(CallFailed, match='xl create: Domain with name "web" already exists'):
        do(lab.toolstack.create(WEB))


#: Who creates it is looked for among all processes: those of other tests are not to be found.
HALF = WEB._replace(path=f"/etc/xen/half-{os.getpid()}.cfg")


def list_half(lab: Lab, state: str, seconds: str, *, first: str = "") -> None:
    """The listing has it, in this state; a creator waits until it may end."""
    line = f"prompt 5 96 1 {state} {seconds} {PROMPT} - -"
    lab.program(f"{first}\ncat {SAMPLES}/list-v.txt; echo '{line}'")


def half_built(lab: Lab) -> bool:
    half = DomainInfo(5, PROMPT, "prompt", paused=True, has_run=False)
    return do(lab.toolstack.half_built(half, HALF))


def test_what_was_never_finished_differs_from_what_was_left_paused(lab: Lab) -> None:
    list_half(lab, "--p---", "0.0")
    assert not half_built(lab), "libxl's records are not where they are looked for"
    lab.record(0, UUID(int=0))
    assert half_built(lab)
    lab.record(5, UUID(int=9))
    lab.record(4, PROMPT)
    assert half_built(lab), "these are of other incarnations"
    lab.record(5, PROMPT)
    assert not half_built(lab)


@pytest.mark.parametrize(
    "listed", ["-b---- 3.1", "r----- 0.4", "---s-- 3.1", "--p--- 3.1", "gone", "fails"]
)
def test_what_was_finished_meanwhile_is_not_abandoned(lab: Lab, listed: str) -> None:
    """It ran, and may have ended by itself: then the process and the record have gone with it."""
    lab.record(0, UUID(int=0))
    if listed == "gone":
        lab.program(LISTS + "esac")
    elif listed == "fails":
        lab.program("exit 1")
    else:
        list_half(lab, *listed.split())
    try:
        assert not half_built(lab)
    except CallFailed:
        assert listed == "fails"


def test_what_is_being_created_is_not_abandoned(lab: Lab) -> None:
    lab.record(0, UUID(int=0))
    list_half(lab, "--p---", "0.0", first='[ "$1" = list ] || { echo begun; read nothing; exit; }')
    creator = [str(lab.folder / "xl"), "create", Path(HALF.path).name]
    with subprocess.Popen(creator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # For a moment after execve(2) a process has no command line.
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert not half_built(lab)
        process.communicate()
    assert half_built(lab)


# --- ending ---


def test_destroying_what_is_gone_is_no_error(lab: Lab) -> None:
    lab.program("echo 'libxl__destroy_domid: Domain 9:Non-existant domain' >&2; exit 1")
    do(lab.toolstack.destroy(9))
    assert lab.calls == ["xl destroy 9"]


def test_nor_is_destroying_what_its_reaper_has_just_destroyed(lab: Lab) -> None:
    lab.program("echo 'libxl: error: xc_domain_destroy failed for 9: No such process' >&2; exit 1")
    do(lab.toolstack.destroy(9))


def test_destroying_can_fail(lab: Lab) -> None:
    lab.program("echo 'destroy failed (rc=-3)' >&2; exit 1")
    with pytest.raises(CallFailed, match="xl destroy: destroy failed"):
        do(lab.toolstack.destroy(9))


def test_not_everything_is_destroyed_at_one_moment(lab: Lab) -> None:
    running = lab.folder / "running"
    running.mkdir()
    lab.program(
        f"cd {running}; touch $2; ls | wc -l >>{lab.folder}/counts; sleep .05; rm $2",
    )

    async def main() -> None:
        await asyncio.gather(*(lab.toolstack.destroy(domid) for domid in range(1, 41)))

    do(main())
    counts = [int(word) for word in (lab.folder / "counts").read_text().split()]
    assert len(counts) == 40
    assert max(counts) <= module.AT_ONCE


def test_a_button_that_is_not_there_is_an_error_although_xl_exits_with_0(lab: Lab) -> None:
    lab.program("echo \"libxl: error: Domain 3:Send trigger 'power' failed\" >&2")
    with pytest.raises(CallFailed, match="Send trigger"):
        do(lab.toolstack.press_power(3))
    lab.program("exit 0")
    do(lab.toolstack.press_power(3))


# --- epitaphs ---

DEAD = DomainInfo(1, PROMPT, "web")
SHUT_DOWN = "Domain 1 has shut down, reason code 0 0x0\n"


def test_an_epitaph_is_in_the_log_of_the_domain_s_process(lab: Lab) -> None:
    lab.log("xl-web.log", SHUT_DOWN)
    assert do(lab.toolstack.shutdown_reason(DEAD)) is ShutdownReason.POWEROFF


def test_it_is_found_behind_much_else_and_in_the_log_before(lab: Lab) -> None:
    lab.log("xl-web.log", "Waiting for domain web (domid 2) to die\n")
    lab.log("xl-web.log.1", "x" * 200_000 + "\n" + SHUT_DOWN)
    assert do(lab.toolstack.shutdown_reason(DEAD)) is ShutdownReason.POWEROFF


@pytest.mark.parametrize("name", ["", "../web", "nobody"])
def test_there_may_be_none(lab: Lab, name: str) -> None:
    lab.log("xl-web.log", SHUT_DOWN)
    assert do(lab.toolstack.shutdown_reason(DomainInfo(1, PROMPT, name))) is None


def test_a_log_from_before_the_boot_is_about_another_domain(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.log("xl-web.log", SHUT_DOWN, age=3600)
    booted = (lab.folder / "logs" / "xl-web.log").stat().st_mtime + 60
    monkeypatch.setattr(module, "booted_at", lambda: booted)
    assert do(lab.toolstack.shutdown_reason(DEAD)) is None


def test_a_log_that_is_no_file_is_not_read(lab: Lab) -> None:
    (lab.folder / "logs").mkdir()
    os.mkfifo(lab.folder / "logs" / "xl-web.log")
    assert do(lab.toolstack.shutdown_reason(DEAD)) is None


# --- reapers ---


def waits(lab: Lab, pid: int, log: str = "xl-web.log") -> None:
    lab.log(log, f"Waiting for domain web (domid 1) to die [pid {pid}]\n")


@pytest.fixture
def as_xl(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """What the kernel says that processes execute, by their numbers."""
    told: dict[int, str] = {}
    monkeypatch.setattr(programs, "executes", lambda pid, name: told.get(pid) == name)
    return told


@pytest.mark.parametrize("log", ["xl-web.log", "xl-web.log.1"])
def test_the_process_that_waits_for_a_domain_reaps_it_while_it_lives(
    lab: Lab, as_xl: dict[int, str], log: str
) -> None:
    waits(lab, 640, log)
    assert not do(lab.toolstack.reaper_lives(DEAD))
    as_xl[640] = "xl"
    assert do(lab.toolstack.reaper_lives(DEAD))
    assert not do(lab.toolstack.reaper_lives(DEAD._replace(domid=2)))
    assert not do(lab.toolstack.reaper_lives(DEAD._replace(name="other")))
    as_xl[640] = "sh"  # its number was given to another one
    assert not do(lab.toolstack.reaper_lives(DEAD))


def test_without_a_log_of_this_boot_no_reaper_is_known(lab: Lab, as_xl: dict[int, str]) -> None:
    as_xl[640] = "xl"
    assert not do(lab.toolstack.reaper_lives(DEAD))
    lab.log("xl-web.log", SHUT_DOWN)
    assert not do(lab.toolstack.reaper_lives(DEAD))
