"""What a scenario is: a module of ``lab.scenarios`` with a docstring and ``run(host)``.

It says, for ``lab.choice``:

    SUBJECT = ("lab/debians.py", "src/lamplighter/guest/*")
                              the files whose behaviour it shows, as patterns from the checkout's
                              root; its own file is always among them
    SHARE = 1                 which third of the rotation it belongs to: 0, 1 or 2
    SECONDS = 60              about how long it takes; the shares take about equally long

It may also say:

    ALWAYS = True             it runs whatever has changed, so it needs neither SUBJECT nor SHARE
    DEADLINE = 240.0          seconds for all of it
    ANY_XENSTORE = True       it is about what XenStore does, so it concerns the hosts with another
                              one than Debian's usual, too
    USUALLY = {"trixie"}      on these it says enough: it runs on others only when somebody asks for
                              hosts
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import scenarios
from lab.failure import LabError
from lab.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.dom0 import Dom0
    from lab.variants import Variant

DEADLINE = 400.0


@dataclass(frozen=True)
class Scenario:
    """One promise, shown on a real host."""

    name: str
    shows: str
    run: Callable[[Dom0], None]
    deadline: float
    any_xenstore: bool
    usually: frozenset[str] | None
    always: bool = False
    subject: tuple[str, ...] = ()
    share: int = 0
    seconds: float = 0.0

    def concerns(self, variant: Variant) -> bool:
        """Whether it shows something on this host."""
        return self.any_xenstore or not variant.c_xenstored

    def runs_usually(self, variant: Variant) -> bool:
        """Whether it is to run on this host when nobody asked for hosts."""
        return self.concerns(variant) and (self.usually is None or variant.name in self.usually)


def all_scenarios(pattern: str = "*") -> list[Scenario]:
    """Return every scenario whose name fits the pattern, in the order of their names.

    There may be several patterns, with commas between them.
    """
    names = sorted(found.name for found in pkgutil.iter_modules(scenarios.__path__))
    patterns = pattern.split(",")
    return [_load(name) for name in names if any(fnmatch.fnmatch(name, one) for one in patterns)]


def _load(name: str) -> Scenario:
    module = importlib.import_module(f"{scenarios.__name__}.{name}")
    description = inspect.getdoc(module)
    if not description or not callable(getattr(module, "run", None)):
        raise LabError(f"scenario {name}: it needs a docstring and a function run(host)")
    usually = getattr(module, "USUALLY", None)
    scenario = Scenario(
        name=name,
        shows=description.splitlines()[0],
        run=module.run,
        deadline=float(getattr(module, "DEADLINE", DEADLINE)),
        any_xenstore=bool(getattr(module, "ANY_XENSTORE", False)),
        usually=None if usually is None else frozenset(usually),
        always=bool(getattr(module, "ALWAYS", False)),
        subject=(f"lab/scenarios/{name}.py", *getattr(module, "SUBJECT", ())),
        share=int(getattr(module, "SHARE", 0)),
        seconds=float(getattr(module, "SECONDS", 0.0)),
    )
    hosts = {variant.name for variant in VARIANTS.values() if scenario.runs_usually(variant)}
    if not hosts or not hosts >= (scenario.usually or hosts):
        raise LabError(f"scenario {name}: USUALLY names hosts that it does not concern: {usually}")
    return scenario
