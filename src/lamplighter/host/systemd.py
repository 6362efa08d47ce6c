"""What systemd and the kernel say about this boot of the host and about services beside us."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError

if TYPE_CHECKING:
    from lamplighter.model.policy import Problem

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id(path: Path = BOOT_ID) -> str:
    """Return the kernel's identifier of this boot; ``ConfigurationError`` when it tells none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the boot id cannot be read: {error}", where=str(path)) from error


def conflicting_units() -> list[Problem]:
    """Return a problem for each service that would act on the same domains."""
    return []
