"""Precedence of settings: ``[domain.NAME]``, the definition, ``[defaults]``, the built-in value.

``settle`` returns the settings that win, ``layers`` every value that was set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamplighter.model.domain import EMPTY
from lamplighter.model.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.policy import Configuration, Setting

#: Every setting of a policy, in the order in which they are shown.
KEYS = Policy._fields

BUILT_IN = Policy()


def settle(
    configuration: Configuration,
    name: str | None = None,
    stated: Mapping[str, Setting[Any]] = EMPTY,
) -> Policy:
    """Return the policy of a domain; ``name`` is None for one that no file mentions.

    ``stated`` has the settings of the domain's definition.
    """
    return Policy(**{**configuration.defaults, **stated, **_own(configuration, name)})


def least_stop_timeout(configuration: Configuration) -> float:
    """Return how long the host's stop can wait before a domain would have to be destroyed.

    That is the smallest ``stop_timeout`` in the configuration file, and no more than
    ``stop_budget``.
    """
    times = [
        settle(configuration, name).stop_timeout.value for name in (None, *configuration.domains)
    ]
    budget = configuration.host.stop_budget.value
    return min(*times, budget) if budget else min(times)


def layers(
    configuration: Configuration,
    name: str | None,
    stated: Mapping[str, Setting[Any]] = EMPTY,
) -> dict[str, tuple[Setting[Any], ...]]:
    """Return for each key all values set for it: the winner first, the built-in value last."""
    tables = (_own(configuration, name), stated, configuration.defaults)
    return {
        key: (*(table[key] for table in tables if key in table), getattr(BUILT_IN, key))
        for key in KEYS
    }


def _own(configuration: Configuration, name: str | None) -> Mapping[str, Setting[Any]]:
    """Return the domain's table in the configuration file."""
    return configuration.domains.get(name, EMPTY) if name is not None else EMPTY
