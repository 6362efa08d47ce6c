"""Whether this is the control domain of a Xen host."""

from __future__ import annotations

from pathlib import Path

CAPABILITIES = Path("/proc/xen/capabilities")


def is_control_domain(path: Path = CAPABILITIES) -> bool:
    """Say whether the hypervisor lets this domain control others: ``control_d`` is listed."""
    try:
        return "control_d" in path.read_text(errors="replace").split()
    except OSError:
        return False
