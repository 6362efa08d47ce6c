"""agent.conf: defaults, and mistakes that cost nothing but the wrong line."""

from __future__ import annotations

import re
from importlib.resources import files
from math import inf
from typing import TYPE_CHECKING

import pytest

from lamplighter.guest.config import KEYS, TEXT_MAX, Config, parse_config, read_config
from lamplighter.guest.events import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_no_file_is_a_valid_one(tmp_path: Path) -> None:
    assert read_config(str(tmp_path / "none")) == (Config(), [])
    assert Config().settings == Settings()


def test_what_a_file_says() -> None:
    text = "# a comment\n\ndeadline = never  # and why\ngrace=0\n script_deadline = 1h 30min\n"
    choices, problems = parse_config(text, "f")
    assert problems == []
    assert choices == Config(Settings(deadline=inf, grace=0.0), script_deadline=5400.0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("deadlin = 3s", "f:2: there is no key 'deadlin': did you mean deadline?"),
        ("zzz = 3s", "f:2: there is no key 'zzz': there are deadline, grace, margin"),
        ("deadline", "f:2: expected 'key = value', not 'deadline'"),
        ("deadline = 3 parsecs", "f:2: deadline: '3 parsecs': there is no unit 'parsecs'"),
        ("deadline = -5", "f:2: deadline: expected a duration"),
        ("script_deadline = 0", "f:2: script_deadline: expected a duration"),
        ("grace = never", "f:2: grace: 'never': expected a duration"),
        ("margin = host", "f:2: margin: 'host': expected a duration"),
        ("margin = 9s", "f:2: margin is set twice"),
    ],
)
def test_a_wrong_line_costs_itself_alone(line: str, problem: str) -> None:
    choices, problems = parse_config(f"margin = 3s\n{line}\ncheck_deadline = 5s\n", "f")
    assert choices == Config(Settings(margin=3.0), check_deadline=5.0)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_what_cannot_be_read_leaves_the_defaults(tmp_path: Path) -> None:
    choices, (problem,) = read_config(str(tmp_path))
    assert choices == Config()
    assert "Is a directory" in problem
    (tmp_path / "long").write_bytes(b"#" * (TEXT_MAX + 1))
    assert "longer than" in read_config(str(tmp_path / "long"))[1][0]
    (tmp_path / "odd").write_bytes(b"\xff\xfe = 3s\ngrace = 1s\n")
    choices, problems = read_config(str(tmp_path / "odd"))
    assert choices.settings.grace == 1.0
    assert len(problems) == 1


def test_the_file_that_is_installed_shows_each_key_with_its_default() -> None:
    text = (files("lamplighter.guest") / "etc" / "agent.conf").read_text(encoding="utf-8")
    assert parse_config(text, "f") == (Config(), [])
    told = "\n".join(re.findall(r"^#(\w+ = .*)$", text, re.MULTILINE))
    assert [line.split(" = ")[0] for line in told.splitlines()] != []
    assert {line.split(" = ")[0] for line in told.splitlines()} == set(KEYS)
    assert parse_config(told, "f") == (Config(), [])
