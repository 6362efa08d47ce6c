"""The example host that ``lamplighter host start`` writes: domains of mixed behaviour.

There are about a dozen. The times are chosen so that at speed 1 ``up`` takes about ten seconds and
``down`` about twenty. Two of the guests do not obey: one has an agent, which forces its end; the
other has none and is destroyed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

#: The name of the configuration file in an embedded host's folder.
CONFIGURATION = "lamplighter.toml"

#: The folder of the definitions in an embedded host's folder.
DEFINITIONS = "domains"

LAMPLIGHTER_TOML = """\
# An embedded host: everything is in this folder, and nothing needs root or Xen.
[host]
toolstack = "embedded"
definitions = ["domains/*.cfg"]
state = "state"
run = "run"

[defaults]
start_timeout = "30s"
ack_timeout = "10s"
stop_timeout = "60s"

# These two never advertise themselves in XenStore: they count as started after this long.
[domain.legacy]
start_timeout = "8s"
stop_timeout = "20s"        # and this one never obeys: it is destroyed

[domain.windows]
start_timeout = "8s"

[domain.files]
stop_timeout = "20s"        # it acknowledges, and then hangs; its agent knows how long it has

[domain.db]
extend_max = "1min"         # it may ask for so much more time
"""

#: Each domain's definition, without its name and UUID.
_DOMAINS = {
    "web": """\
# A guest as it should be.
memory = 512
on_xend_start = "start"
embedded_guest = "prompt"
embedded_shutdown = "2s"
""",
    "db": """\
# Writes its tables back before it goes. Its agent says how far that is, and asks for more time.
memory = 4096
on_xend_start = "start"
on_xend_stop = "shutdown"
embedded_guest = "slow"
embedded_boot = "4s"
embedded_shutdown = "4s"
embedded_agent = "yes"
embedded_script = "8s"
embedded_more = "30s"
""",
    "mail": """\
memory = 1024
on_xend_start = "start"
embedded_boot = "3s"
embedded_shutdown = "4s"
""",
    "cache": """\
# Suspending is refused until it is safe: it is shut down instead, with a note about it.
memory = 2048
on_xend_start = "start"
on_xend_stop = "suspend"
embedded_boot = "1s"
embedded_shutdown = "500ms"
""",
    "queue": """\
# What it is asked while it boots is lost; it must be asked again.
memory = 512
on_xend_start = "start"
embedded_guest = "ignores-while-booting"
embedded_boot = "6s"
""",
    "build": """\
# Asked to power off, it reboots, and obeys only when it is asked once more.
memory = 2048
on_xend_start = "start"
embedded_guest = "reboots"
""",
    "metrics": """\
# Fills control/shutdown with random bytes.
memory = 256
on_xend_start = "start"
embedded_guest = "noisy"
embedded_shutdown = "2s"
""",
    "backup": """\
# Powers off by itself when its work is done.
memory = 256
on_xend_start = "start"
embedded_guest = "quits"
embedded_after = "5s"
""",
    "windows": """\
# Has no drivers for Xen: it never reads XenStore, but feels the power button.
type = "hvm"
memory = 4096
on_xend_start = "start"
embedded_guest = "no-drivers"
embedded_boot = "4s"
embedded_shutdown = "3s"
""",
    "files": """\
# Acknowledges, and then hangs. The agent in it forces its end before the host has to.
memory = 1024
on_xend_start = "start"
embedded_guest = "hangs"
embedded_agent = "yes"
""",
    "legacy": """\
# Never acknowledges anything.
memory = 128
on_xend_start = "start"
embedded_guest = "deaf"
""",
    "firewall": """\
# Stays when everything else goes.
memory = 128
on_xend_start = "start"
on_xend_stop = "ignore"
embedded_boot = "1s"
""",
    "staging": """\
# Is started by hand only: lamplighter up staging
memory = 1024
on_xend_start = "ignore"
embedded_guest = "crashes"
""",
}


def definitions() -> dict[str, str]:
    """Return the text of each example definition, by domain name."""
    return {
        name: f'name = "{name}"\nuuid = "6d1a7e00-0000-4000-8000-{number:012d}"\n{text}'
        for number, (name, text) in enumerate(_DOMAINS.items(), 1)
    }


def write_example_host(folder: Path) -> None:
    """Write the configuration and the definitions into a folder, leaving existing files alone.

    The configuration is written last, so a folder that has it is complete. Only the owner may write
    the files, as Lamplighter refuses files that others can write. Raises ``ConfigurationError``.
    """
    try:
        (folder / DEFINITIONS).mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, text in definitions().items():
            _write(folder / DEFINITIONS / f"{name}.cfg", text)
        _write(folder / CONFIGURATION, LAMPLIGHTER_TOML)
    except OSError as error:
        message = f"the example host cannot be written: {error.strerror}"
        raise ConfigurationError(message, where=str(error.filename or folder)) from error


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
