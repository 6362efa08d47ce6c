"""What the demonstration is to show of each domain, and whether it came to pass.

The example host's guests are made to behave well or badly, so how each of them ends is known
beforehand: two of them do not obey and are forced, and that is no failure of the story.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamplighter.cli.output.text import counted, outcome_colour, table
from lamplighter.model.run import Direction, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamplighter.cli.output.text import Style
    from lamplighter.model.run import Result, Run

HEADERS = ("DOMAIN", "UP", "DOWN", "WHAT IT IS LIKE")


@dataclass(frozen=True, slots=True)
class Part:
    """One domain's part in the story; None: the run has nothing to do with it."""

    like: str
    up: Outcome | None = Outcome.STARTED
    down: Outcome | None = Outcome.CLEAN


TALE = {
    "backup": Part("powers off by itself when its work is done", down=None),
    "build": Part("reboots when asked to power off; is asked again"),
    "cache": Part("is to be suspended: refused, so it is shut down"),
    "db": Part("writes its tables back; its agent says how far it is"),
    "files": Part("acknowledges, then hangs: its agent forces its end", down=Outcome.FORCED),
    "firewall": Part("its policy leaves it running", down=Outcome.SKIPPED),
    "legacy": Part("never acknowledges: must be destroyed", down=Outcome.FORCED),
    "mail": Part("takes its time, and obeys"),
    "metrics": Part("fills control/shutdown with random bytes"),
    "queue": Part("is deaf until it has booted"),
    "staging": Part("is started by hand only", up=Outcome.SKIPPED, down=None),
    "web": Part("obeys at once"),
    "windows": Part("has no Xen drivers; feels the power button"),
}


class Ending:
    """How the two runs ended, beside how they were to end."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._ends: dict[Direction, dict[str, Result]] = {one: {} for one in Direction}
        for run in runs:
            self._ends[run.direction].update({result.name: result for result in run.results})

    @property
    def as_told(self) -> bool:
        """Every domain ended both runs as the story says."""
        return not self.differences()

    def differences(self) -> list[str]:
        """Tell, one line each, what went otherwise."""
        lines = []
        for name, part in TALE.items():
            for direction, expected in ((Direction.UP, part.up), (Direction.DOWN, part.down)):
                result = self._ends[direction].get(name)
                if (result.outcome if result else None) is not expected:
                    told = f": {result.note}" if result and result.note else ""
                    lines.append(
                        f"{name}: {direction.value} was to end {_word(expected)}, "
                        f"it ended {_word(result.outcome if result else None)}{told}"
                    )
        return lines

    def text(self, style: Style) -> str:
        """Lay out each domain's way up and down, and say whether it is the story that was told."""
        rows, colours = [], []
        for name, part in sorted(TALE.items()):
            pair = [self._ends[direction].get(name) for direction in Direction]
            rows.append((name, *(r.outcome.value if r else "-" for r in pair), part.like))
            colours.append(_colours(pair))
        laid_out = table(HEADERS, rows, style, colours=colours)
        return f"{laid_out}\n\n{self._verdict(style)}"

    def _verdict(self, style: Style) -> str:
        if differences := self.differences():
            told = "\n".join(f"    {line}" for line in differences)
            return style.paint("This is not the story that was to be told:", "bad") + f"\n{told}"
        up, down = self._ends[Direction.UP], self._ends[Direction.DOWN]
        forced = [name for name, result in sorted(down.items()) if result.outcome is Outcome.FORCED]
        story = (
            f"{counted(_count(up, Outcome.STARTED), 'domain')} came up with the host; "
            f"{_count(down, Outcome.CLEAN)} of them went down cleanly, {len(forced)} were forced "
            f"({', '.join(forced)})\nbecause they are made not to obey. "
            "None waited for another. The story went as told."
        )
        return style.paint(story, "good")


def _colours(pair: list[Result | None]) -> Mapping[int, str]:
    return {
        column: outcome_colour(result.outcome, good=result.good)
        for column, result in enumerate(pair, 1)
        if result
    }


def _count(results: Mapping[str, Result], outcome: Outcome) -> int:
    return sum(result.outcome is outcome for result in results.values())


def _word(outcome: Outcome | None) -> str:
    return outcome.value if outcome else "without it"
