"""Which toolstack manages this host: the one its configuration names, or the one it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.host.capabilities import is_control_domain
from lamplighter.toolstacks.embedded import EmbeddedToolstack
from lamplighter.toolstacks.xl import XlToolstack

if TYPE_CHECKING:
    from lamplighter.model.clock import Clock
    from lamplighter.model.configuration import Configuration
    from lamplighter.toolstacks.base import Toolstack


def choose(configuration: Configuration, clock: Clock) -> Toolstack:
    """Return the driver for ``[host] toolstack``; ``auto`` is xl on a Xen control domain."""
    settings = configuration.host
    wanted, call_timeout = settings.toolstack.value, settings.call_timeout.value
    if wanted == "xl" or (wanted == "auto" and is_control_domain()):
        return XlToolstack(clock, call_timeout=call_timeout)
    return EmbeddedToolstack(Path(settings.run.value), clock, call_timeout=call_timeout)
