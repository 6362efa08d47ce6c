"""What the lab prints when it is over, and what `.ci/run` gives it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from lab.__main__ import main, summarise
from lab.bench import Verdict
from lab.parts import Parts
from lab.scenario import all_scenarios
from lab.variants import VARIANTS
from lab.wheels import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TRIXIE = VARIANTS["trixie"]
CONTRACT, *OTHERS = all_scenarios("contract,reaper_killed,xl_agrees")
ROUNDS = [(TRIXIE, [CONTRACT]), (TRIXIE, OTHERS)]
PASSED = [Verdict("trixie", scenario.name, 60.0) for scenario in (CONTRACT, *OTHERS)]


def _told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_last_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert summarise(ROUNDS, PASSED, Parts([("test", 60.0)])) == 0

    assert _told(capsys) == [
        "test                   60 s",
        "all (1.0 minutes)      60 s",
        "3 passed, 0 failed",
    ]


def test_what_passed_at_the_second_try_is_named_before_the_last_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = Verdict("trixie", "xl_agrees", 30.0, before="waited 10 s for a console")

    assert summarise(ROUNDS, [*PASSED[:2], again], Parts()) == 0

    told = _told(capsys)
    assert "  waited 10 s for a console" in told
    assert told[-2:] == [
        "1 passed only at the second try: xl_agrees on trixie",
        "3 passed, 0 failed",
    ]


def test_a_failure_is_reported_with_its_reason_and_fails_the_lab(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = Verdict("trixie", "xl_agrees", 30.0, reason="not as promised", before="nor then")

    assert summarise(ROUNDS, [*PASSED[:2], failed], Parts()) == 1

    told = _told(capsys)
    # Where only the end of a log is kept, it has to say why.
    reason = told.index("  not as promised")
    assert reason > told.index("all (0.0 minutes)       0 s")
    assert not any("only at the second try" in line for line in told)
    assert told[-1] == "2 passed, 1 failed"


def test_what_was_not_begun_is_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert summarise(ROUNDS, PASSED[:1], Parts()) == 0

    told = _told(capsys)
    assert told[0] == "trixie: not begun: reaper_killed, xl_agrees"
    assert told[-1] == "1 passed, 0 failed, 2 not begun"


def test_a_lab_that_did_not_begin_what_runs_always_has_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert summarise(ROUNDS, PASSED[1:], Parts()) == 1

    assert _told(capsys)[-1] == "2 passed, 0 failed, 1 not begun"


def test_the_choice_names_every_pair_that_runs_usually(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["choice"]) == 0

    note, *rows, minutes = _told(capsys)
    assert note.startswith("turn ")
    assert {tuple(row.split()[:2]) for row in rows} == {
        (variant.name, scenario.name)
        for variant in VARIANTS.values()
        for scenario in all_scenarios()
        if scenario.runs_usually(variant)
    }
    assert minutes.startswith("about ")


def _ci(tmp_path: Path, fails: str) -> subprocess.CompletedProcess[str]:
    """Run `.ci/run` with a `make` that prints what it is asked for, and fails at one target."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "make $*"\n[ "$1" != "{fails}" ] || exit 3\n')
    make.chmod(0o755)
    return subprocess.run(
        ["bash", str(tmp_path / ".ci/run")],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ci_gives_the_lab_what_came_before_it_and_ends_with_its_last_line(tmp_path: Path) -> None:
    ended = _ci(tmp_path, fails="nothing")

    *before, lab = ended.stdout.splitlines()
    assert before[-2:] == ["make test", "make simulation"]
    words = lab.split("LABFLAGS=")[1].split()
    assert words[0] == "--minutes"
    assert int(words[1]) <= 75
    assert words[2::2] == ["--took"] * 3
    named = [word.partition("=")[0] for word in words[3::2]]
    assert named == ["setup", "test", "simulation"]
    assert ended.returncode == 0


def test_ci_ends_with_the_first_part_that_fails(tmp_path: Path) -> None:
    ended = _ci(tmp_path, fails="simulation")

    assert ended.returncode == 3
    assert ended.stdout.splitlines()[-1] == "make simulation"
    assert 'failed at "simulation"' in ended.stderr


def test_ci_fails_with_the_lab(tmp_path: Path) -> None:
    assert _ci(tmp_path, fails="lab").returncode == 3
