"""Faults of the Debian guests in a scenario: scripts and units on their disks.

Each trouble is files by their path inside the guest, for ``debians.make``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.debian_guest import SCRIPTS

if TYPE_CHECKING:
    from lab.debians import Files

SCRIPT = "etc/lamplighter/shutdown.d"
CONFIGURATION = "etc/lamplighter/agent.conf"
UNITS = "etc/systemd/system"
CONSOLE = "exec >/dev/console 2>&1\n"
ORDERED = {"usr/local/bin/ordered": (SCRIPTS / "ordered.py").read_text()}


def deadline(seconds: int) -> Files:
    """The guest's guard forces its end so long after a shutdown began."""
    return {CONFIGURATION: f"deadline = {seconds}s\n"}


def script(text: str) -> Files:
    """An administrator's script that runs before the system's own shutdown."""
    return {f"{SCRIPT}/10-work": f"#!/bin/sh\n{CONSOLE}{text}"}


def service(name: str, text: str, *settings: str) -> Files:
    """A program that runs from the beginning of the boot; with settings of its unit's [Service]."""
    unit = (
        *("[Unit]", "DefaultDependencies=no"),
        *("Conflicts=shutdown.target", "Before=shutdown.target"),
        *("[Service]", f"ExecStart=/usr/local/bin/{name}", *settings),
        *("[Install]", "WantedBy=sysinit.target"),
    )
    return {
        f"usr/local/bin/{name}": f"#!/bin/sh\n{CONSOLE}{text}",
        f"{UNITS}/{name}.service": "".join(f"{line}\n" for line in unit),
    }


#: A service that no stop gets rid of, and that systemd waits for without end.
REFUSES = service(
    "refuses",
    "trap '' TERM HUP INT\nwhile :; do sleep 1000; done\n",
    *("TimeoutStopSec=infinity", "SendSIGKILL=no"),
)

#: When dom0 says so, PID 1 crashes, which freezes it, and all that is not the agent's stands still.
FREEZES = {
    **ORDERED,
    **service(
        "freezes",
        """\
ordered freeze
kill -SEGV 1
sleep 1
for place in /proc/[0-9]*; do
    pid=${place#/proc/}
    case $(tr '\\0' ' ' <"$place/cmdline" 2>/dev/null) in
    '' | *lamplighter*) continue ;;
    esac
    [ "$pid" = 1 ] || [ "$pid" = $$ ] || kill -STOP "$pid"
done
echo "lamplighter-guest: frozen"
while :; do sleep 1000; done
""",
    ),
}

#: The last phase hangs: systemd has ended every process by then, and runs this with its own hands.
HANGS_AT_LAST = {
    "usr/lib/systemd/system-shutdown/hangs": f"""\
#!/bin/sh
{CONSOLE}echo "lamplighter-guest: the last phase hangs"
sleep 1000
"""
}

#: When dom0 says so, the agent reports progress once more and is killed for good.
AGENT_KILLED = {
    **ORDERED,
    **service(
        "kills",
        """\
ordered kill
lamplighter-agent say --percent 10 "a last word"
rm /usr/local/sbin/lamplighter-agent
systemctl mask --runtime lamplighter-agent.service
systemctl daemon-reload
for place in /proc/[0-9]*; do
    pid=${place#/proc/}
    case $(tr '\\0' ' ' <"$place/cmdline" 2>/dev/null) in
    *lamplighter*) kill -KILL "$pid" ;;
    esac
done
echo "lamplighter-guest: the agent is killed"
sleep 1000
""",
    ),
}
