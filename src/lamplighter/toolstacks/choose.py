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
    call_timeout = settings.call_timeout.value
    if is_embedded(configuration):
        return EmbeddedToolstack(Path(settings.run.value), clock, call_timeout=call_timeout)
    # An embedded host does not need the xl driver, whose import takes long.
    xl = cast("_Xl", import_module("lamplighter.toolstacks.xl"))
    return xl.XlToolstack(clock, call_timeout=call_timeout)


def is_embedded(configuration: Configuration) -> bool:
    """Return whether this configuration is of an embedded host, without looking for one."""
    toolstack = configuration.host.toolstack.value
    return toolstack == "embedded" or (toolstack == "auto" and not is_control_domain())
