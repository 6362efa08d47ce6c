"""Scopes, asked of a systemd of the test's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import CallFailed
from lamplighter.host.clock import LoopClock
from lamplighter.host.systemd import scopes
from lamplighter.host.systemd.scopes import Scope, make_scope
from tests.systemd import Systemd

if TYPE_CHECKING:
    from pathlib import Path

WEB = Scope("lamplighter-domain-web", "Domain web", before="lamplighter-domains.service")


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scopes, "PAUSE", 0.0)
    return tmp_path / "private"


def make(private: Path, *, seconds: float = 60, speed: float = 1) -> None:
    asyncio.run(make_scope(WEB, 640, LoopClock(speed), seconds, socket=private))


@pytest.mark.parametrize("early", [False, True], ids=["reply-first", "job-first"])
def test_a_scope_is_there_when_its_job_is_done(private: Path, early: bool) -> None:
    with Systemd(private, early=early) as systemd:
        make(private)
    (asked,) = systemd.scopes
    assert (asked.member, asked.mode) == ("StartTransientUnit", "fail")
    assert asked.unit.startswith("lamplighter-domain-web-")
    assert asked.unit.endswith(".scope")
    assert asked.properties == {
        "PIDs": ("au", [640]),
        "Description": ("s", "Domain web"),
        "Slice": ("s", "system.slice"),
        "CollectMode": ("s", "inactive-or-failed"),
        "Before": ("as", ["lamplighter-domains.service"]),
    }


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (("org.freedesktop.DBus.Error.AccessDenied", "Access denied"), "web: Access denied"),
        (("org.freedesktop.DBus.Error.Failed",), "web: org.freedesktop.DBus.Error.Failed"),
    ],
    ids=["with-words", "without"],
)
def test_what_systemd_refuses_is_reported_with_its_message(
    private: Path, error: tuple[str, ...], says: str
) -> None:
    with Systemd(private, error=error) as systemd, pytest.raises(CallFailed, match=says):
        make(private)
    assert len(systemd.scopes) == 1, "what is refused is not asked again"


def test_a_job_that_fails_leaves_no_scope(private: Path) -> None:
    with (
        Systemd(private, result="failed"),
        pytest.raises(CallFailed, match="job for lamplighter-domain-web ended as 'failed'"),
    ):
        make(private)


def test_a_systemd_that_re_executes_itself_is_asked_again_under_another_name(
    private: Path,
) -> None:
    with Systemd(private, drops=1) as systemd:
        make(private)
    first, second = (asked.unit for asked in systemd.scopes)
    assert first != second, "it may have made the first one all the same"


def test_a_systemd_that_always_hangs_up_is_given_up(private: Path) -> None:
    with (
        Systemd(private, drops=scopes.TRIES) as systemd,
        pytest.raises(CallFailed, match=r"does not answer on .*private: it closed the connection"),
    ):
        make(private)
    assert len(systemd.scopes) == scopes.TRIES


def test_nobody_is_there(private: Path) -> None:
    with pytest.raises(CallFailed, match=r"no scope could be made .* No such file or directory"):
        make(private)


def test_who_is_not_let_in_says_so(private: Path) -> None:
    with (
        Systemd(private, rejects=True),
        pytest.raises(CallFailed, match=r"does not answer on .*REJECTED"),
    ):
        make(private)


def test_a_systemd_that_never_answers_is_not_waited_for_for_ever(private: Path) -> None:
    with (
        Systemd(private, silent=True) as systemd,
        pytest.raises(CallFailed, match="systemd has not answered within 20 s"),
    ):
        make(private, seconds=20, speed=100)
    assert len(systemd.scopes) <= 1
