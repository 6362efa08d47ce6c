"""What ``lamplighter.toml`` says about the host itself; every key has a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamplighter.model.domain import EMPTY
from lamplighter.model.policy import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping


class HostSettings(NamedTuple):
    """The ``[host]`` table. Paths are absolute: relative ones were taken from the file's folder.

    ``parallel_starts`` bounds how many domains are being created at one time; all of them may boot
    at one time. ``stop_budget`` is how long a whole run that stops domains may take, whatever the
    policy of each one says; 0 means that only their policies count.
    """

    toolstack: Setting[str] = Setting("auto")
    definitions: Setting[tuple[str, ...]] = Setting(("/etc/xen/*.cfg",))
    state: Setting[str] = Setting("/var/lib/lamplighter")
    run: Setting[str] = Setting("/run/lamplighter")
    parallel_starts: Setting[int] = Setting(4)
    call_timeout: Setting[float] = Setting(120.0)
    stop_budget: Setting[float] = Setting(0.0)


class Configuration(NamedTuple):
    """The whole file, typed but not yet merged.

    ``defaults`` and each table of ``domains`` map a policy key (``start``, ``stop``,
    ``stop_timeout``, ...) to its already validated value and place.
    """

    file: str = ""
    host: HostSettings = HostSettings()
    defaults: Mapping[str, Setting[object]] = EMPTY
    domains: Mapping[str, Mapping[str, Setting[object]]] = EMPTY
