"""Policy: what administrators wrote in files about a domain, each setting with its place.

Precedence is ``[domain.NAME]`` over the domain's own definition over ``[defaults]`` over what is
built in. It is settled when the files are read; from then on a ``Setting`` carries its value and
the one place that won. ``HostSettings`` is what ``[host]`` says about the host itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from lamplighter.model.domain import EMPTY
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.domain import Definition

T = TypeVar("T")


class Start(Enum):
    """What the host's start does with a domain."""

    ALWAYS = "always"
    NEVER = "never"
    LAST_STATE = "last-state"  # up again if it was meant to be up when the host went down


class Stop(Enum):
    """What the host's stop does with a domain."""

    SHUTDOWN = "shutdown"
    LEAVE = "leave"
    DESTROY = "destroy"


class Setting(NamedTuple, Generic[T]):
    """A value, where it was said, and what must be told about it (such as a refused suspend)."""

    value: T
    origin: Location = BUILT_IN
    note: str = ""


class Policy(NamedTuple):
    """Every setting of one domain. Durations are seconds.

    ``start_timeout``: how long a start may take before it counts as started without a word.
    ``ack_timeout``: how long one request to stop may stay unacknowledged before the next rung.
    ``stop_timeout``: how long the whole stop may take before the domain is destroyed.
    ``extend_max``: how much more an agent in the guest may ask for during one stop; 0 means none.
    ``hold_after``: so many failed starts in a row, all within ``hold_window``, hold the domain;
    0 means never.
    """

    start: Setting[Start] = Setting(Start.NEVER)
    stop: Setting[Stop] = Setting(Stop.SHUTDOWN)
    start_timeout: Setting[float] = Setting(120.0)
    ack_timeout: Setting[float] = Setting(60.0)
    stop_timeout: Setting[float] = Setting(180.0)
    extend_max: Setting[float] = Setting(0.0)
    hold_after: Setting[int] = Setting(3)
    hold_window: Setting[float] = Setting(3600.0)


class ManagedDomain(NamedTuple):
    """A domain that files know: its definition and what policy says about it."""

    definition: Definition
    policy: Policy

    @property
    def name(self) -> str:
        """The domain's label."""
        return self.definition.name


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that files say: the domains by name, what applies to the unknown, what is wrong.

    ``defaults`` is the policy of a domain that runs and that no file knows; ``named`` that of one
    of which only ``[domain.NAME]`` speaks. ``blocked`` maps the name of a domain that must not be
    started to the problem that bars it; such a domain may still be in ``domains`` when enough of
    it could be read to stop it as its policy says.
    """

    domains: dict[str, ManagedDomain] = field(default_factory=dict)
    defaults: Policy = field(default_factory=Policy)
    problems: tuple[Problem, ...] = ()
    named: dict[str, Policy] = field(default_factory=dict)

    def policy_of(self, name: str) -> Policy:
        """The policy of a domain that runs under this name."""
        if name in self.domains:
            return self.domains[name].policy
        return self.named.get(name, self.defaults)

    @property
    def blocked(self) -> dict[str, Problem]:
        """Domains that must not be started, each with the first problem that says why."""
        blocked: dict[str, Problem] = {}
        for problem in self.problems:
            if problem.fatal and problem.domain is not None:
                blocked.setdefault(problem.domain, problem)
        return blocked


class HostSettings(NamedTuple):
    """The ``[host]`` table. Paths are absolute: relative ones were taken from the file's folder.

    ``parallel_starts`` bounds how many domains are being created at one time; all of them may boot
    at one time. ``stop_budget`` is how long a whole run that stops domains may take, whatever the
    policy of each one says; 0 means that only their policies count.
    """

    toolstack: Setting[str] = Setting("auto")
    definitions: Setting[tuple[str, ...]] = Setting(("/etc/xen/*.cfg",))
    state: Setting[str] = Setting("/var/lib/lamplighter")
    run: Setting[str] = Setting("/run/lamplighter")
    parallel_starts: Setting[int] = Setting(4)
    call_timeout: Setting[float] = Setting(120.0)
    stop_budget: Setting[float] = Setting(0.0)


class Configuration(NamedTuple):
    """The whole file, typed but not yet merged.

    ``defaults`` and each table of ``domains`` map a policy key (``start``, ``stop``,
    ``stop_timeout``, ...) to its already validated value and place.
    """

    file: str = ""
    host: HostSettings = HostSettings()
    defaults: Mapping[str, Setting[object]] = EMPTY
    domains: Mapping[str, Mapping[str, Setting[object]]] = EMPTY
