"""The choice of the toolstack driver: the configured one, or the one that this host has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from lamplighter.host.machine import find_program, is_control_domain

if TYPE_CHECKING:
    from lamplighter.model.clock import Clock
    from lamplighter.model.policy import Configuration, HostSettings
    from lamplighter.toolstacks.base import Toolstack

#: Each toolstack and the module of its driver. Only the chosen one is imported: an embedded host
#: does not need the driver for xl, whose import takes long.
DRIVERS = {
    "xl": "lamplighter.toolstacks.xl",
    "embedded": "lamplighter.toolstacks.embedded",
}


class Driver(Protocol):
    """The interface of a driver's module."""

    def open_toolstack(self, settings: HostSettings, clock: Clock) -> Toolstack:
        """Return the toolstack of the host with these settings; nothing is called yet."""


def choose(configuration: Configuration, clock: Clock) -> Toolstack:
    """Return the driver for ``[host] toolstack``."""
    driver = cast("Driver", import_module(DRIVERS[_toolstack_of(configuration)]))
    return driver.open_toolstack(configuration.host, clock)


def is_embedded(configuration: Configuration) -> bool:
    """Return whether this configuration is of an embedded host, without looking for one."""
    return _toolstack_of(configuration) == "embedded"


def _toolstack_of(configuration: Configuration) -> str:
    """Return the name of the driver; ``auto`` is xl on a Xen host, also on one without Xen booted.

    There the domains are xl's, although they cannot be reached: nothing embedded may answer for
    them.
    """
    toolstack = configuration.host.toolstack.value
    if toolstack != "auto":
        return toolstack
    return "xl" if is_control_domain() or find_program("xl") is not None else "embedded"
