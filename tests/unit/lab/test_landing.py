"""Which turn it is and what has changed, from the history of a checkout."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.landing import LASTS, advance, read_landing, turns_forgotten

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="there is no git here")

NOON = 1_700_000_000
HOUR = 3600


class Checkout:
    """A repository with a turn in it, and commits at given times."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "lab").mkdir(parents=True)
        self.write("lab/turn", "0\n")
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str, at: int = NOON) -> str:
        """Run git with a clock that stands."""
        identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        ended = subprocess.run(
            ["git", *identity, *words],
            cwd=self.root,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.root),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_COMMITTER_DATE": f"{at} +0000",
                "GIT_AUTHOR_DATE": f"{at} +0000",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the checkout."""
        (self.root / path).write_text(text)

    def commit(self, path: str, text: str = "new\n", *, at: int = NOON) -> None:
        """Commit a file."""
        self.write(path, text)
        self.git("add", "--all", at=at)
        self.git("commit", "--quiet", "-m", path, at=at)

    def turn(self, *, at: int = NOON) -> None:
        """Advance the turn and commit it."""
        self.commit("lab/turn", f"{advance(self.root)}\n", at=at)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout at turn 2: `old` was landed in turn 1, `new` belongs to this one."""
    made = Checkout(tmp_path / "checkout")
    made.commit("ancient")
    made.turn()
    made.commit("old")
    made.commit("new")
    made.turn()
    return made


def test_what_has_changed_is_what_differs_from_the_turn_before(checkout: Checkout) -> None:
    landing = read_landing(checkout.root)

    assert landing.turn == 2
    assert landing.changed == ("lab/turn", "new", "old")
    before = checkout.git("log", "--format=%h", "--abbrev=12", "-2", "--", "lab/turn").split()[1]
    assert landing.note == f"turn 2 (lab/turn); 3 files differ from {before}, where turn 1 began"


def test_a_turn_that_is_not_committed_yet_is_advanced_once(checkout: Checkout) -> None:
    for _ in range(2):
        assert advance(checkout.root) == 3
        assert read_landing(checkout.root).turn == 3


def test_a_clone_shows_the_same_as_the_checkout(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("clone", "--quiet", str(checkout.root), str(tmp_path / "clone"))

    assert read_landing(tmp_path / "clone") == read_landing(checkout.root)


def test_a_file_that_was_moved_has_changed_at_both_places(checkout: Checkout) -> None:
    checkout.git("mv", "ancient", "modern")
    checkout.git("commit", "--quiet", "-m", "moved")

    assert {"ancient", "modern"} <= set(read_landing(checkout.root).changed or ())


def test_what_is_not_committed_has_changed_too(checkout: Checkout) -> None:
    checkout.write("ancient", "edited\n")
    checkout.write("with a\nnewline", "made\n")

    assert {"ancient", "with a\nnewline"} <= set(read_landing(checkout.root).changed or ())


def test_a_turn_that_is_not_committed_counts_already(checkout: Checkout) -> None:
    advance(checkout.root)

    landing = read_landing(checkout.root)
    assert landing.turn == 3
    assert landing.changed == ("lab/turn",)


def test_the_first_turn_of_all_has_only_itself_to_compare_with(tmp_path: Path) -> None:
    made = Checkout(tmp_path / "checkout")
    made.commit("ancient")
    made.commit("new")

    assert read_landing(made.root).changed == ("new",)


def test_a_forgotten_turn_is_counted_by_the_hours_of_the_commits(checkout: Checkout) -> None:
    checkout.commit("late", at=NOON + 9 * HOUR)

    landing = read_landing(checkout.root)
    assert landing.turn == 4
    assert landing.changed == ("lab/turn", "late", "new", "old")
    assert "2 more" in landing.note
    assert "make turn" in landing.note
    assert landing.forgotten == 2
    assert advance(checkout.root) == 5


@pytest.mark.parametrize(
    ("seconds", "forgotten"),
    [(-60, 0), (0, 0), (1, 0), (LASTS, 0), (LASTS + 1, 1), (2 * LASTS, 1), (9 * HOUR, 2)],
)
def test_a_turn_lasts_four_hours(seconds: int, forgotten: int) -> None:
    assert turns_forgotten(seconds) == forgotten


def test_a_shallow_clone_does_not_know_what_has_changed(checkout: Checkout, tmp_path: Path) -> None:
    place = str(tmp_path / "clone")
    checkout.git("clone", "--quiet", "--depth=1", f"file://{checkout.root}", place)

    landing = read_landing(tmp_path / "clone")
    assert (landing.turn, landing.changed) == (2, None)
    assert "a shallow clone" in landing.note


def test_without_git_everything_has_changed(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    landing = read_landing(checkout.root)
    assert (landing.turn, landing.changed) == (2, None)
    assert "git" in landing.note


def test_files_without_a_history_have_all_changed(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/turn").write_text("7\n")

    landing = read_landing(tmp_path)
    assert (landing.turn, landing.changed) == (7, None)
    assert "not a git repository" in landing.note


def test_a_turn_is_advanced_by_one(checkout: Checkout) -> None:
    assert advance(checkout.root) == 3
    assert (checkout.root / "lab/turn").read_text() == "3\n"
