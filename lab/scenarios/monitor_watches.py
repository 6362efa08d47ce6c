"""The monitor records which domains start and stop, and who caused it; it is sandboxed and idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.steps import MONITOR, UNIT

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/engine/domain_events.py",
    "src/lamplighter/host/event_log.py",
    "src/lamplighter/host/monitor_socket.py",
    "src/lamplighter/service/monitor.py",
    "src/lamplighter/units/lamplighter-monitor.service",
)
SHARE = 0
SECONDS = 115
DEADLINE = 500.0
USUALLY = {"bookworm"}

#: What systemd thinks of a unit's sandbox: 0 is perfect, 10 is none.
MOST_EXPOSURE = 3.0

#: Seconds in which it has nothing to do, and how often it is looked at for so long, until it has
#: dealt with the last event.
IDLE, LOOKS = 10, 6

#: MiB that the monitor may have resident.
MOST_MEMORY = 60


def run(host: Dom0) -> None:
    for name in ("asked", "cut", "ours", "reboots"):
        host.define(name, "prompt")
    host.define("crashes", "crashes")
    host.define("quits", "quits", seconds=5)
    host.run(f"systemctl start {MONITOR} {UNIT}", timeout=120)

    host.create("asked", "cut", "reboots")
    assert host.lamplighter("up", "ours", "crashes").status == 0
    host.create("quits")
    for name in ("asked", "crashes", "ours", "reboots"):
        host.wait_console(name, "lamplighter-guest: up")
    host.run("xl shutdown asked; xl destroy cut; xl reboot reboots; xl shutdown crashes")
    # The initiator of a stop beside a run of ours is known only where the run's record says so.
    _events(host, "quits", 2)
    assert host.lamplighter("down", "ours").status == 0

    seen = {name: _events(host, name, 2) for name in ("asked", "cut", "ours", "quits")}
    assert seen == {
        "asked": ["came tool", "went tool"],
        "cut": ["came tool", "went tool"],
        "ours": ["came lamplighter", "went lamplighter"],
        "quits": ["came tool", "went guest"],
    }, host.run(f"journalctl --no-pager -o cat -u {MONITOR}").stdout
    assert _events(host, "crashes", 2)[:2] == ["came lamplighter", "went crash"]
    assert _events(host, "reboots", 3)[:3] == ["came tool", "went tool", "came tool"]

    _sandboxed(host)
    _idle(host)


def _events(host: Dom0, name: str, count: int) -> list[str]:
    """Return what changed and who caused it in a domain's events, once there are so many."""

    def events() -> list[str] | None:
        found = host.lamplighter("history", name, "--limit", "50").document["passages"]
        return (
            [f"{one['way']} {one['by']}" for one in reversed(found)]
            if len(found) >= count
            else None
        )

    return host.wait_for(f"{count} events of {name}", events)


def _sandboxed(host: Dom0) -> None:
    for unit in (MONITOR, UNIT):
        rating = host.run(f"systemd-analyze security --no-pager {unit} | tail -1").stdout
        print(f"  {host.variant.name}: {rating.strip()}", flush=True)
        level = float(rating.split(":")[1].split()[0])
        assert unit != MONITOR or level <= MOST_EXPOSURE, rating
    state = host.unit(MONITOR)
    assert (state["ActiveState"], state["NRestarts"]) == ("active", "0"), state


def _idle(host: Dom0) -> None:
    """Between events it makes no system call, so the kernel never has it run."""
    pid = host.unit(MONITOR)["MainPID"]
    assert int(pid), host.unit(MONITOR)
    host.run("xl destroy reboots")
    script = f"grep ctxt /proc/{pid}/status; cut -d' ' -f14,15 /proc/{pid}/stat"
    looks = []
    for _ in range(LOOKS):
        before, after = host.run(f"{script}; sleep {IDLE}; echo; {script}").stdout.split("\n\n")
        looks.append(f"{before}\nbecame\n{after}")
        if before.split() == after.split():
            break
    else:
        raise AssertionError("\n".join(looks))
    resident = int(host.run(f"awk '/VmRSS/ {{ print $2 }}' /proc/{pid}/status").stdout)
    assert resident < MOST_MEMORY * 1024, f"{resident} KiB"
