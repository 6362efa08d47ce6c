"""The agent's configuration: ``agent.conf``, for the guest's administrator, and all its paths.

``agent.conf`` has lines ``key = value`` and comments that start with ``#``. Every key has a
default, and a missing file is valid. A wrong line must not keep the agent from its work: it is
reported, and the default applies.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

from lamplighter.formats.durations import DURATION_FORMS, parse_duration
from lamplighter.formats.suggest import did_you_mean
from lamplighter.guest.events import Settings

#: The size limit of ``agent.conf`` in bytes; a longer file is ignored as a whole.
TEXT_MAX = 65536

#: The values of ``deadline`` that are not durations.
NAMED_DEADLINES = {"host": None, "never": inf}

#: The paths of the kernel's XenStore device, the newest first.
DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")


class Config(NamedTuple):
    """The contents of ``agent.conf``; durations in seconds.

    ``script_deadline`` and ``check_deadline`` apply to a script and to a readiness check that do
    not state a deadline themselves.
    """

    settings: Settings = Settings()
    script_deadline: float = 60.0
    check_deadline: float = 60.0


#: All valid keys.
KEYS = (*Settings._fields, *Config._fields[1:])


def read_config(path: str) -> tuple[Config, list[str]]:
    """Return the configuration in a file, and what is wrong with the file."""
    try:
        with open(path, "rb") as file:
            text = file.read(TEXT_MAX + 1)
    except FileNotFoundError:
        return Config(), []
    except OSError as error:
        return Config(), [f"{path}: it cannot be read, the defaults apply: {error.strerror}"]
    if len(text) > TEXT_MAX:
        return Config(), [f"{path}: it is longer than {TEXT_MAX} bytes, the defaults apply"]
    return parse_config(text.decode("utf-8", "replace"), path)


def parse_config(text: str, where: str) -> tuple[Config, list[str]]:
    """Return the configuration in a text and, line by line, what is wrong with it."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            key, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise ValueError(f"expected 'key = value', not {text[:60]!r}")
            if key not in KEYS:
                hint = did_you_mean(key, KEYS, f"there are {', '.join(KEYS)}")
                raise ValueError(f"there is no key {key[:60]!r}: {hint}")
            seconds: float | None
            if key == "deadline" and value in NAMED_DEADLINES:
                seconds = NAMED_DEADLINES[value]
            else:
                try:
                    seconds = parse_duration(value)
                except ValueError as error:
                    raise ValueError(f"{key}: {value[:60]!r}: {error}") from error
                if seconds < 0 or (seconds == 0 and key not in ("grace", "margin")):
                    raise ValueError(f"{key}: expected {DURATION_FORMS} of more than 0 s")
            if key in found:
                raise ValueError(f"{key} is set twice; the first value counts")
            found[key] = seconds
        except ValueError as error:
            problems.append(f"{where}:{number}: {error}")
    settings = {key: found.pop(key) for key in Settings._fields if key in found}
    return Config(Settings(**settings), **found), problems


class Paths(NamedTuple):
    """The files and folders that the agent uses.

    ``xenstore`` is a device or a Unix socket; empty: the first of ``DEVICES`` that exists.
    ``rehearsal_file`` is a file that records what would be done to the system instead of doing it;
    empty: it is done.
    """

    xenstore: str = ""
    etc: str = "/etc/lamplighter"
    run: str = "/run/lamplighter-agent"
    proc: str = "/proc"
    rehearsal_file: str = ""

    @property
    def configuration(self) -> str:
        """The configuration file, ``agent.conf``."""
        return f"{self.etc}/agent.conf"

    @property
    def scripts(self) -> str:
        """The folder of the scripts that run before the system's own shutdown."""
        return f"{self.etc}/shutdown.d"

    @property
    def checks(self) -> str:
        """The folder of the checks that must succeed before the guest is ready."""
        return f"{self.etc}/ready.d"

    @property
    def control_socket(self) -> str:
        """The daemon's socket."""
        return f"{self.run}/socket"

    @property
    def orders(self) -> str:
        """The named pipe on which the guard takes orders."""
        return f"{self.run}/guard"

    @property
    def state(self) -> str:
        """The file of what the agent has done since the system booted."""
        return f"{self.run}/state"
