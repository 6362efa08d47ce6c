"""The choice of the toolstack driver: the configured one, or the one that this host has."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from lamplighter.host.machine import is_control_domain
from lamplighter.toolstacks.embedded import EmbeddedToolstack

if TYPE_CHECKING:
    from lamplighter.model.clock import Clock
    from lamplighter.model.policy import Configuration
    from lamplighter.toolstacks.base import Toolstack
    from lamplighter.toolstacks.xl import XlToolstack

    class _Xl(Protocol):
        XlToolstack: type[XlToolstack]


def choose(configuration: Configuration, clock: Clock) -> Toolstack:
    """Return the driver for ``[host] toolstack``; ``auto`` is xl on a Xen control domain."""
    settings = configuration.host
    wanted, call_timeout = settings.toolstack.value, settings.call_timeout.value
    if wanted == "xl" or (wanted == "auto" and is_control_domain()):
        return _load_xl().XlToolstack(clock, call_timeout=call_timeout)
    return EmbeddedToolstack(Path(settings.run.value), clock, call_timeout=call_timeout)


def _load_xl() -> _Xl:
    # Importing what starts programs takes long, and an embedded host does not need it.
    return cast("_Xl", import_module("lamplighter.toolstacks.xl"))
