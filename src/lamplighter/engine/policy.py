"""Precedence of settings: ``[domain.NAME]``, the definition, ``[defaults]``, the built-in value.

``layers`` returns every value that was set; ``settle`` returns those that win, and ``manage`` has
both of a domain that a file defines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamplighter.model.policy import ManagedDomain, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.domain import Definition
    from lamplighter.model.policy import Configuration, Setting

#: Every setting of a policy, in the order in which they are shown.
KEYS = Policy._fields

EMPTY: Mapping[str, Setting[Any]] = {}


def layers(
    configuration: Configuration,
    name: str | None,
    stated: Mapping[str, Setting[Any]] = EMPTY,
) -> dict[str, tuple[Setting[Any], ...]]:
    """Return for each key all values set for it: the winner first, the built-in value last.

    ``name`` is None for a domain that no file mentions; ``stated`` has the definition's settings.
    """
    own = configuration.domains.get(name, EMPTY) if name is not None else EMPTY
    built_in = Policy()
    return {
        key: (
            *(table[key] for table in (own, stated, configuration.defaults) if key in table),
            getattr(built_in, key),
        )
        for key in KEYS
    }


def settle(configuration: Configuration, name: str | None = None) -> Policy:
    """Return the policy of a domain without a definition; no name: one that no file mentions."""
    return _winners(layers(configuration, name))


def manage(
    configuration: Configuration, definition: Definition, stated: Mapping[str, Setting[Any]]
) -> ManagedDomain:
    """Return a defined domain with its policy; ``stated`` has the definition's settings."""
    found = layers(configuration, definition.name, stated)
    return ManagedDomain(definition, _winners(found), found)


def _winners(found: Mapping[str, tuple[Setting[Any], ...]]) -> Policy:
    return Policy(**{key: settings[0] for key, settings in found.items()})
