"""Where each setting of a domain comes from, and what the host's start and stop do with it.

The sentences describe what ``engine/start`` and ``engine/stop`` do: change both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamplighter.engine import timing
from lamplighter.engine.naming import find
from lamplighter.engine.policy import layers
from lamplighter.formats.durations import format_duration
from lamplighter.model.domain import EMPTY, Kind
from lamplighter.model.policy import Start, Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.policy import Configuration, Inventory, ManagedDomain, Policy, Setting
    from lamplighter.model.problem import Problem


def when_host_starts(name: str, policy: Policy, blocked: Problem | None = None) -> str:
    """Return what the host's start does with a domain; ``blocked``: why it must not be started."""
    if policy.start.value is Start.NEVER:
        by_hand = "nothing starts it" if blocked else f"lamplighter up {name} starts it"
        return f"It is not started with the host; {by_hand}."
    if blocked is not None and policy.start.value is Start.ALWAYS:
        return "It should be started with the host and is not, because of the problem below."
    if blocked is not None:
        return "It is not started with the host, because of the problem below."
    wait = format_duration(policy.start_timeout.value)
    whether = "It is started with the host."
    if policy.start.value is Start.LAST_STATE:
        whether = "It is started with the host if it was meant to be up when the host went down."
    return (
        f"{whether} Its start has ended when its kernel has advertised itself "
        f"in XenStore, or when it has run for {wait} without that."
    )


def when_host_stops(policy: Policy, kind: Kind | None, budget: float = 0.0) -> str:
    """Return what the host's stop does with a domain that runs; ``kind`` is None when unknown.

    ``budget`` is the ``stop_budget`` of the host in seconds, 0 for none.
    """
    if policy.stop.value is Stop.LEAVE:
        return "It is left running when the host stops: the host's end is a power cut for it."
    if policy.stop.value is Stop.DESTROY:
        return "It is destroyed when the host stops, without being asked: a power cut for it."
    limit, extra = policy.stop_timeout.value, policy.extend_max.value
    patience = min(policy.ack_timeout.value, limit / timing.MIN_REQUESTS)
    button = ""
    if kind is Kind.HVM:
        silence = format_duration(min(patience, timing.HVM_SILENCE))
        button = f" If it has no drivers for Xen, its power button is pressed after {silence}."
    text = (
        "It is asked to shut down when the host stops, and asked again whenever it has not "
        f"acknowledged for {format_duration(patience)}.{button} If it is not down after "
        f"{format_duration(limit)}, it is destroyed."
    )
    if extra:
        text += f" An agent in it may ask for up to {format_duration(extra)} more."
    if 0 < budget < limit + extra:
        text += (
            f" The whole stop has no more than {format_duration(budget)} (stop_budget): "
            "what is not down by then is destroyed."
        )
    return text


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that ``explain`` shows of one domain. ``managed`` is None when no definition is usable.

    ``stop_budget`` is the host's, in seconds; 0 means none.
    """

    name: str
    managed: ManagedDomain | None
    policy: Policy
    settings: Mapping[str, tuple[Setting[Any], ...]]
    problems: tuple[Problem, ...]
    stop_budget: float = 0.0

    @property
    def follows(self) -> tuple[str, ...]:
        """What the host's start and stop do with it, a sentence or more each."""
        blocked = next((problem for problem in self.problems if problem.fatal), None)
        if self.managed is None:
            start = "It is never started: it has no valid definition."
        else:
            start = when_host_starts(self.name, self.policy, blocked)
        kind = self.managed.definition.kind if self.managed else None
        return start, when_host_stops(self.policy, kind, self.stop_budget)


def explain(given: str, configuration: Configuration, inventory: Inventory) -> Explanation:
    """Collect what is known of a domain; raise ``UsageError`` when no file mentions it."""
    name = given if given in inventory.named else find(given, inventory).name
    managed = inventory.domains.get(name)
    policy = inventory.policy_of(name)
    problems = tuple(
        problem
        for problem in inventory.problems
        if problem.domain == name or problem.where == policy.stop.origin
    )
    settings = layers(configuration, name, managed.stated if managed is not None else EMPTY)
    budget = configuration.host.stop_budget.value
    return Explanation(name, managed, policy, settings, problems, budget)
