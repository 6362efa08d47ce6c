"""The landing that is tested: the number of its turn, and what has changed since the last one.

``lab/turn`` holds the number of the turn; ``make turn`` advances it, once before a landing. Its
history in git has the rest: the turn before was under way until the commit that made this one, so
what differs between the commit that began the turn before and this checkout has changed in this
landing or in the one before. That is more than is needed, and never less.

Where nobody advanced the turn, time does: the turn lasts four hours by the commits' own
times, and each four hours that have begun after that count as another, which is made up for.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.wheels import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TURN = "lab/turn"
LASTS = 4 * 3600


@dataclass(frozen=True)
class Landing:
    """``changed`` are paths from the checkout's root; None: it is not known what has changed.

    ``forgotten``: so many turns before this one are made up for in it. ``begun``: its number is
    committed, as far as is known. ``note`` says for people where all this comes from.
    """

    turn: int
    changed: tuple[str, ...] | None
    note: str
    forgotten: int = 0
    begun: bool = True


class NoHistoryError(Exception):
    """Git does not know the history of this checkout."""


def advance(root: Path = ROOT) -> int:
    """Write the number of the next turn and return it; those that were forgotten count.

    One that is written and in no commit yet is the next, and stays.
    """
    landing = read_landing(root)
    turn = landing.turn + landing.begun
    (root / TURN).write_text(f"{turn}\n")
    return turn


def read_landing(root: Path = ROOT) -> Landing:
    """Return what this checkout's files and history say."""
    written = _written(root)
    try:
        return _from_history(root, written)
    except NoHistoryError as error:
        return Landing(written, None, f"turn {written} ({TURN}); {error}: all counts as changed")


def turns_forgotten(seconds: float) -> int:
    """Return how many turns count as forgotten when this one began so long before the commit."""
    return max(0, -int(-seconds // LASTS) - 1)


def _from_history(root: Path, written: int) -> Landing:
    if _git(root, "rev-parse", "--is-shallow-repository").strip() != "false":
        raise NoHistoryError("this is a shallow clone")
    # The newest first. A merge is not a turn of its own.
    turns = [line.split() for line in _git(root, "log", "--format=%H %ct", "--", TURN).splitlines()]
    if not turns:
        raise NoHistoryError(f"{TURN} is in no commit")
    begun = _git(root, "show", f"HEAD:{TURN}").strip() == str(written)
    if begun:
        before = turns[min(1, len(turns) - 1)][0]
        since, now = int(turns[0][1]), int(_git(root, "log", "-1", "--format=%ct"))
        forgotten = turns_forgotten(now - since)
    else:
        before, forgotten = turns[0][0], 0
    # What is not committed yet counts as well; in a fresh clone there is nothing like that.
    differ = _git(root, "diff", "--name-only", "--no-renames", "-z", before, "--")
    unknown = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    changed = sorted(set(filter(None, (differ + unknown).split("\0"))))
    note = f"turn {written + forgotten} ({TURN}"
    if forgotten:
        note += f": {written}, and {forgotten} more because it began hours ago; `make turn`?"
    first = _git(root, "show", f"{before}:{TURN}").strip()
    note += f"); {len(changed)} files differ from {before[:12]}, where turn {first} began"
    return Landing(written + forgotten, tuple(changed), note, forgotten, begun)


def _written(root: Path) -> int:
    return int((root / TURN).read_text())


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; ``NoHistoryError`` when it fails or is not there."""
    # Whoever runs the lab is root, and the checkout may be another user's.
    command = ["git", "-C", str(root), "-c", f"safe.directory={root}", *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoHistoryError(f"git: {error}") from error
    if ended.returncode:
        raise NoHistoryError(f"git: {ended.stderr.strip()}")
    return ended.stdout
