"""A plan: the actions that lead from what is seen to what is wanted, each with its reason."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.outcome import Outcome
    from lamplighter.model.policy import Policy


class Direction(Enum):
    """Which way a run goes."""

    UP = "up"
    DOWN = "down"


class Verb(Enum):
    """What a plan does with one domain."""

    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    NOTHING = "nothing"


class Step(NamedTuple):
    """What happens to one domain and why.

    ``outcome`` is set exactly when the verb is NOTHING: how the domain's part ends without
    acting. ``good`` is then what ``Result.good`` will be. ``notes`` are further sentences for a
    person, such as a refused suspend. ``resume`` is where a run that died left the domain, when
    this one goes on from there.
    """

    name: str
    verb: Verb
    reason: str
    policy: Policy
    definition: Definition | None = None
    sighting: DomainInfo | None = None
    outcome: Outcome | None = None
    good: bool = True
    notes: tuple[str, ...] = ()
    resume: Phase | None = None


class Plan(NamedTuple):
    """All steps of one direction, in the order in which they begin."""

    direction: Direction
    steps: tuple[Step, ...]
