"""Precedence of settings: ``[domain.NAME]``, the definition, ``[defaults]``, the built-in value.

``layers`` returns every value that was set, for ``explain``; ``settle`` returns those that win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamplighter.model.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            *(said[key] for said in (own, stated, configuration.defaults) if key in said),
            getattr(built_in, key),
        )
        for key in KEYS
    }


def settle(
    configuration: Configuration,
    name: str | None = None,
    stated: Mapping[str, Setting[Any]] = EMPTY,
) -> Policy:
    """Return the policy of a domain; without a name, that of domains that no file mentions."""
    winners = {key: said[0] for key, said in layers(configuration, name, stated).items()}
    return Policy(**winners)
