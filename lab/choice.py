"""Which scenarios run when nobody says which: a rule that follows from the commit alone.

Each landing runs what runs always, the scenarios whose subject has changed since the landing
before, and a third of all others, in rotation. ``lab.landing`` knows the turn and what has changed.

A scenario's SHARE is written in its file and not computed: a rule that balanced the shares again
with each new scenario would move others out of the share whose turn comes next. A new SHARE changes
the scenario's file, so the scenario runs in that landing anyway.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, TypeVar

from lab.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.landing import Landing
    from lab.scenario import Scenario
    from lab.variants import Variant

T = TypeVar("T")

SHARES = 3


@dataclass(frozen=True)
class Choice:
    """A scenario on a host where it usually runs. ``reason`` is empty when it is left out."""

    variant: Variant
    scenario: Scenario
    reason: str
    #: In how many turns its share comes; 0: in this one.
    due_in: int
    #: The reason of those that only their turn chooses: they may wait for another landing.
    rotates: bool = False

    @property
    def chosen(self) -> bool:
        """Whether it runs."""
        return bool(self.reason)

    def __str__(self) -> str:
        why = self.reason or f"left out, due in {self.due_in} turn{'s'[: self.due_in > 1]}"
        return f"{self.variant.name:<20} {self.scenario.name:<24} {why}"


def choose(scenarios: Iterable[Scenario], landing: Landing) -> list[Choice]:
    """Return each scenario on each host where it usually runs, in the order to run them in.

    What a time limit may cut off, the rotation, comes last, and the hosts on which something runs
    always come first. Each time that a third comes round it begins with its next host, and that
    with its next scenario, so that no limit cuts off the same ones again and again.
    """
    choices = [
        _choice(scenario, variant, landing)
        for scenario in scenarios
        for variant in VARIANTS.values()
        if scenario.runs_usually(variant)
    ]
    first = {choice.variant for choice in choices if choice.scenario.always}
    hosts = [*sorted(VARIANTS.values(), key=lambda variant: variant not in first)]
    choices.sort(key=lambda one: (not one.scenario.always, one.scenario.name))
    choices.sort(key=lambda one: hosts.index(one.variant))
    turning = groupby((one for one in choices if one.rotates), key=lambda one: one.variant)
    shift = landing.turn // SHARES
    groups = [_shifted(list(group), shift) for _, group in turning]
    return [
        *(one for one in choices if one.chosen and not one.rotates),
        *chain(*_shifted(groups, shift)),
        *(one for one in choices if not one.chosen),
    ]


def _shifted(items: list[T], places: int) -> list[T]:
    """Rotate a list by so many places."""
    places %= max(1, len(items))
    return items[places:] + items[:places]


def share_of(scenario: Scenario, variant: Variant) -> int:
    """Return the share of a scenario on this host: on each host another one."""
    return (scenario.share + list(VARIANTS.values()).index(variant)) % SHARES


def changed_subject(scenario: Scenario, changed: Sequence[str]) -> list[str]:
    """Return which of these files the scenario is about."""
    patterns = scenario.subject
    return [path for path in changed if any(fnmatch.fnmatchcase(path, one) for one in patterns)]


def _choice(scenario: Scenario, variant: Variant, landing: Landing) -> Choice:
    due_in = (share_of(scenario, variant) - landing.turn) % SHARES
    if scenario.always:
        return Choice(variant, scenario, "always", due_in)
    if landing.changed is None:
        return Choice(variant, scenario, "changed: what has changed is not known", due_in)
    if changed := changed_subject(scenario, landing.changed):
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        return Choice(variant, scenario, f"changed: {changed[0]}{more}", due_in)
    if (late := -due_in % SHARES) > landing.forgotten:
        return Choice(variant, scenario, "", due_in)
    turn = f"turn {(landing.turn - late) % SHARES + 1} of {SHARES}"
    return Choice(variant, scenario, turn, due_in, rotates=True)
