"""Plans: the actions that lead from the listing to the wanted state, each with its reason."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lamplighter.model.domain import Definition, DomainInfo
    from lamplighter.model.lifecycle import Phase
    from lamplighter.model.policy import Policy
    from lamplighter.model.run import Direction, Outcome


class Verb(Enum):
    """What a plan does with one domain."""

    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    NOTHING = "nothing"


class Step(NamedTuple):
    """What happens to one domain and why.

    ``outcome`` is set exactly when the verb is NOTHING: it is the result of a domain that is not
    acted on, and ``good`` is then what ``Result.good`` will be. ``notes`` are further sentences for
    a person, such as a refused suspend. ``resume`` is the phase in which a run that died left the
    domain, when this run continues from there.
    """

    name: str
    verb: Verb
    reason: str
    policy: Policy
    definition: Definition | None = None
    info: DomainInfo | None = None
    outcome: Outcome | None = None
    good: bool = True
    notes: tuple[str, ...] = ()
    resume: Phase | None = None


class Plan(NamedTuple):
    """All steps of a run, in the order in which they begin."""

    direction: Direction
    steps: tuple[Step, ...]
