"""What a scenario is: a module of ``lab.scenarios`` with a docstring and ``run(host)``.

It may also say:

    DEADLINE = 240.0          seconds for all of it
    VARIANTS = {"trixie"}     the hosts it concerns; all of them when it says nothing, but for those
                              with another XenStore than Debian's usual one
    ANY_XENSTORE = True       these as well: it is about what XenStore does
    PRODUCT = False           it does not need Lamplighter to be installed
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
    variants: frozenset[str] | None
    any_xenstore: bool
    product: bool

    def concerns(self, variant: Variant) -> bool:
        """Whether it is to run on this host."""
        if self.variants is not None:
            return variant.name in self.variants
        return self.any_xenstore or not variant.c_xenstored


def all_scenarios(pattern: str = "*") -> list[Scenario]:
    """Return every scenario whose name fits the pattern, in the order of their names.

    There may be several patterns, with commas between them.
    """
    names = sorted(found.name for found in pkgutil.iter_modules(scenarios.__path__))
    patterns = pattern.split(",")
    return [_load(name) for name in names if any(fnmatch.fnmatch(name, one) for one in patterns)]


def _load(name: str) -> Scenario:
    module = importlib.import_module(f"{scenarios.__name__}.{name}")
    told = inspect.getdoc(module)
    if not told or not callable(getattr(module, "run", None)):
        raise LabError(f"scenario {name}: it needs a docstring and a function run(host)")
    variants = getattr(module, "VARIANTS", None)
    return Scenario(
        name=name,
        shows=told.splitlines()[0],
        run=module.run,
        deadline=float(getattr(module, "DEADLINE", DEADLINE)),
        variants=frozenset(variants) if variants else None,
        any_xenstore=bool(getattr(module, "ANY_XENSTORE", False)),
        product=bool(getattr(module, "PRODUCT", True)),
    )
