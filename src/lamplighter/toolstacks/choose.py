"""Which toolstack manages this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.toolstacks.embedded import EmbeddedToolstack

if TYPE_CHECKING:
    from lamplighter.model.clock import Clock
    from lamplighter.model.configuration import Configuration
    from lamplighter.toolstacks.base import Toolstack


def choose(configuration: Configuration, clock: Clock) -> Toolstack:
    """Return the toolstack that the configuration names, or that this machine has."""
    settings = configuration.host
    return EmbeddedToolstack(
        Path(settings.run.value), clock, call_timeout=settings.call_timeout.value
    )
