"""Precedence: ``[domain.NAME]`` over the definition over ``[defaults]`` over what is built in.

``layers`` keeps everything that was said, for ``explain``; ``settle`` keeps what won.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamplighter.model.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.model.policy import Configuration, Setting

#: Every setting of a policy, in the order in which it is told.
KEYS = Policy._fields

EMPTY: Mapping[str, Setting[Any]] = {}


def layers(
    configuration: Configuration,
    name: str | None,
    stated: Mapping[str, Setting[Any]] = EMPTY,
) -> dict[str, tuple[Setting[Any], ...]]:
    """Return for each key all that is said about it: the winner first, what is built in last.

    ``name`` is None for a domain that no file knows; ``stated`` is what the definition says.
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
    """Return the policy of a domain; without a name, the one of domains that no file knows."""
    winners = {key: said[0] for key, said in layers(configuration, name, stated).items()}
    return Policy(**winners)
