"""Policy: the settings of each domain and of the host, each with the place it comes from.

Precedence is ``[domain.NAME]`` over the domain's own definition over ``[defaults]`` over the
built-in defaults. It is applied when the files are read; from then on a ``Setting`` carries its
value and the one place that won; ``ManagedDomain.stated`` keeps what the definition states.
``HostSettings`` is the ``[host]`` table.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from lamplighter.model.domain import EMPTY
from lamplighter.model.problem import BUILT_IN, Location, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.domain import Definition

T = TypeVar("T")


class Start(Enum):
    """What a start of the host does with a domain."""

    ALWAYS = "always"
    NEVER = "never"
    LAST_STATE = "last-state"  # up again if it was meant to be up when the host went down


class Stop(Enum):
    """What a stop of the host does with a domain."""

    SHUTDOWN = "shutdown"
    LEAVE = "leave"
    DESTROY = "destroy"


class Setting(NamedTuple, Generic[T]):
    """A value, where it was set, and a note to report about it (such as a refused suspend)."""

    value: T
    origin: Location = BUILT_IN
    note: str = ""


class Policy(NamedTuple):
    """Every setting of one domain. Durations are seconds.

    ``start_timeout``: after this long a domain counts as started even if it has not advertised.
    ``ack_timeout``: how long one request to stop may stay unacknowledged before the next step.
    ``stop_timeout``: how long the whole stop may take before the domain is destroyed.
    ``extend_max``: how much more time a guest's agent may be granted in one stop; 0 means none.
    ``hold_after``: this many failed starts in a row, all within ``hold_window``, put a hold on the
    domain; 0 means never.
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
    """A domain that has a definition file: the definition and its policy.

    ``stated`` has the definition's own settings; the configuration file may override them.
    """

    definition: Definition
    policy: Policy
    stated: Mapping[str, Setting[Any]] = EMPTY

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.definition.name


class Inventory(NamedTuple):
    """Everything the files say: domains by name, policies for undefined domains, and problems.

    ``defaults`` is the policy of a running domain that no file mentions; ``named`` has the policies
    of those that only a ``[domain.NAME]`` table mentions. ``blocked`` maps the name of a domain
    that must not be started to the problem that blocks it; such a domain may still be in
    ``domains`` when enough of it could be read to stop it according to its policy.
    """

    domains: Mapping[str, ManagedDomain] = EMPTY
    defaults: Policy = Policy()
    problems: tuple[Problem, ...] = ()
    named: Mapping[str, Policy] = EMPTY

    def policy_of(self, name: str) -> Policy:
        """The policy of the domain that runs under this name."""
        if name in self.domains:
            return self.domains[name].policy
        return self.named.get(name, self.defaults)

    @property
    def blocked(self) -> dict[str, Problem]:
        """The domains that must not be started, each with the first problem that blocks it."""
        blocked: dict[str, Problem] = {}
        for problem in self.problems:
            if problem.fatal and problem.domain is not None:
                blocked.setdefault(problem.domain, problem)
        return blocked


class HostSettings(NamedTuple):
    """The ``[host]`` table. Paths are absolute: relative ones were resolved in the file's folder.

    ``parallel_starts`` bounds how many domains are created at the same time; any number may boot
    at the same time. ``stop_budget`` is how long, in seconds, a whole run that stops domains may
    take, whatever their policies say; 0 means that only the policies count. Runs that began longer
    ago than ``history`` seconds are forgotten.
    """

    toolstack: Setting[str] = Setting("auto")
    definitions: Setting[tuple[str, ...]] = Setting(("/etc/xen/*.cfg",))
    state: Setting[str] = Setting("/var/lib/lamplighter")
    run: Setting[str] = Setting("/run/lamplighter")
    parallel_starts: Setting[int] = Setting(4)
    call_timeout: Setting[float] = Setting(120.0)
    stop_budget: Setting[float] = Setting(0.0)
    history: Setting[float] = Setting(400 * 86400.0)


class Configuration(NamedTuple):
    """The whole configuration file, typed but not yet merged.

    ``defaults`` and each table of ``domains`` map a policy key (``start``, ``stop``,
    ``stop_timeout``, ...) to its validated value and place.
    """

    file: str = ""
    host: HostSettings = HostSettings()
    defaults: Mapping[str, Setting[object]] = EMPTY
    domains: Mapping[str, Mapping[str, Setting[object]]] = EMPTY
