"""The machine: its boot, its user, its programs, and whether it is a Xen host's control domain."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from lamplighter.errors import ConfigurationError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

STATISTICS = Path("/proc/stat")

CAPABILITIES = Path("/proc/xen/capabilities")

#: Where the system's programs are.
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def user_name(uid: int) -> str:
    """Return a user's name, such as ``root``, or ``uid 123`` if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def who() -> str:
    """Return the name of this process's user, or ``anna as root`` under sudo."""
    name = user_name(os.getuid())
    behind = os.environ.get("SUDO_USER", "")
    return f"{behind} as {name}" if behind and behind != name and behind.isprintable() else name


def boot_id(path: Path = BOOT_ID) -> str:
    """Return the kernel's identifier of this boot; ``ConfigurationError`` if unreadable."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the boot id cannot be read: {error}", where=str(path)) from error


def booted_at(statistics: Path = STATISTICS) -> float:
    """Return when the kernel booted, in seconds since 1970 like file times; infinite if unknown.

    It moves when the wall clock is set, so it can be compared with file times written since.
    """
    try:
        lines = statistics.read_text(encoding="ascii").splitlines()
        return float(next(line for line in lines if line.startswith("btime ")).split()[1])
    except (OSError, ValueError, StopIteration):
        return float("inf")


def find_program(name: str, path: str = PATH) -> Path | None:
    """Return the first executable file of this name in the folders of ``path``, or None."""
    # Like shutil.which, whose import takes longer than many a command.
    places = (Path(folder, name) for folder in path.split(os.pathsep))
    return next((one for one in places if one.is_file() and os.access(one, os.X_OK)), None)


def is_control_domain(path: Path = CAPABILITIES) -> bool:
    """Return whether the hypervisor lets this domain control others: ``control_d`` is listed."""
    try:
        return "control_d" in path.read_text(errors="replace").split()
    except OSError:
        return False
