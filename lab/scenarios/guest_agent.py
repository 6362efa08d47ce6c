"""Debian guests with the agent report how far they are, and end by themselves whatever is wrong.

`clean` runs its administrator's script, which reports how far it is and asks for more time, once
within the policy and once beyond it. Then four others are stopped, all at once. In `refuses` a
service never ends, in `last` the very last phase hangs, when systemd has ended every process, and
in `frozen` PID 1 has crashed and nothing but the agent runs: these force their own end. In `killed`
the agent is gone, and only there the host destroys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab import debians, troubles

if TYPE_CHECKING:
    from typing import Any

    from lab.dom0 import Answer, Dom0

SUBJECT = (
    "lab/debian/prepare",
    "lab/debian_guest.py",
    "lab/debians.py",
    "lab/troubles.py",
    "src/lamplighter/engine/stop/extension.py",
    "src/lamplighter/formats/agent_protocol.py",
    "src/lamplighter/guest/*",
    "tools/make-agent",
)
SHARE = 0
SECONDS = 470
DEADLINE = 1200.0

#: When a guest forces its own end (the one in its last phase has to come so far first), long before
#: the host would, and how long the host gives the one without an agent.
FORCES = {"refuses": 25, "last": 50, "frozen": 25, "killed": 25}
KILLED = 40
#: What `clean` has at first, asks for and takes after that, and may have altogether.
SHORT, ASKED, TAKES, EXTEND_MAX = 45, 60, 45, 90
#: What an agent may cost: KiB that are resident, and voluntary context switches in IDLE seconds.
MOST_MEMORY, IDLE = 15 * 1024, 5
CONFIGURATION = f"""
[domain.killed]
stop_timeout = "{KILLED}s"
[domain.clean]
stop_timeout = "{SHORT}s"
extend_max = "{EXTEND_MAX}s"
"""

MEASURES = troubles.service(
    "measures",
    f"""\
ordered measure
agent=$(systemctl show -P MainPID lamplighter-agent)
before=$(grep ^voluntary /proc/$agent/status)
sleep {IDLE}
echo "lamplighter-guest: before: $before"
grep -E '^(VmRSS|voluntary)' /proc/$agent/status | sed 's/^/lamplighter-guest: after: /'
sleep infinity
""",
)
#: Its answers and its mark are looked for on the disk.
WORKS = troubles.script(
    f"""\
# lamplighter-deadline: 5min
ask() {{ lamplighter-agent more "$@" 2>&1; echo "status $?"; }}
ask {ASKED}s "rolling back" >/var/lib/granted
lamplighter-agent say --percent 40 "stopping postgresql"
ask {EXTEND_MAX}s "for ever" >/var/lib/refused
sleep {TAKES}
echo "$0 $*" >/var/lib/mark
"""
)
TROUBLES: dict[str, debians.Files] = {
    "refuses": troubles.REFUSES,
    "last": troubles.HANGS_AT_LAST,
    "frozen": troubles.FREEZES,
    "killed": {**troubles.REFUSES, **troubles.AGENT_KILLED},
}
GUESTS = {
    "clean": {**WORKS, **troubles.ORDERED, **MEASURES},
    **{name: {**files, **troubles.deadline(FORCES[name])} for name, files in TROUBLES.items()},
}
BY_THEMSELVES = ("refuses", "last", "frozen")


def run(host: Dom0) -> None:
    debians.make(host, GUESTS)
    for name in GUESTS:
        debians.define(host, name)
    host.configure(CONFIGURATION)
    debians.all_ready(host, *GUESTS)
    status = host.lamplighter("status")
    assert status.domains["clean"]["guest"]["ready"] is True, str(status)
    _costs_little(host)
    _clean(host, host.lamplighter("down", "clean", timeout=200))

    _bring_trouble(host)
    down = host.lamplighter("down", timeout=200)

    print(*(f"  {name}: {one}\n" for name, one in down.domains.items()), sep="")
    assert host.domids() == {}, str(down)
    _forced_by_themselves(host, down)
    _destroyed(host, down)


def _bring_trouble(host: Dom0) -> None:
    for name, order, sign in (
        ("frozen", "freeze", "lamplighter-guest: frozen"),
        ("killed", "kill", "the agent is killed"),
    ):
        debians.order(host, name, order)
        host.wait_console(name, sign)


def _costs_little(host: Dom0) -> None:
    """One agent's memory, and what it does while there is nothing to do."""
    debians.order(host, "clean", "measure")
    host.wait_console("clean", "after: voluntary")
    found = host.console("clean")
    print("".join(f"  {line}\n" for line in found.splitlines() if "lamplighter-guest:" in line))
    before, after = (int(count) for count in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", found))
    (memory,) = (int(size) for size in re.findall(r"after: VmRSS:\s+(\d+) kB", found))
    assert before == after, f"{after - before} wake-ups in {IDLE} s"
    assert memory < MOST_MEMORY, f"{memory} KiB are resident"


def _clean(host: Dom0, down: Answer) -> None:
    answers = ("granted", "refused")
    found = {name: debians.off_disk(host, "clean", f"var/lib/{name}") for name in answers}
    end = down.domains["clean"]
    print(f"  clean: {end}\n  {found}")
    assert end["outcome"] == "clean", str(down)
    assert end["seconds"] > SHORT, str(down)
    assert "stopping postgresql, 40 %" in down.stderr, str(down)
    assert "status 0" in found["granted"], found
    assert "extend_max" in found["refused"], found
    assert "status 1" in found["refused"], found
    assert "10-work" in debians.off_disk(host, "clean", "var/lib/mark"), host.console("clean")


def _forced_by_themselves(host: Dom0, down: Answer) -> None:
    for name in BY_THEMSELVES:
        end = down.domains[name]
        assert end["outcome"] == "forced", str(down)
        assert end["note"].startswith("forced by the guest"), str(down)
        assert end["seconds"] >= FORCES[name], str(down)
        assert "forcing" not in _phases(host, name), _phases(host, name)
    for name in BY_THEMSELVES:
        log = host.read(f"/var/log/xen/xl-{name}.log")
        assert "reason code 0" in log, f"{name}: {log}"
        assert "Done. Exiting now" in log or "Action for shutdown reason code 0" in log, log
    assert "lamplighter-guest: the last phase hangs" in host.console("last"), host.console("last")


def _destroyed(host: Dom0, down: Answer) -> None:
    end = down.domains["killed"]
    assert end["outcome"] == "forced", str(down)
    assert "by the guest" not in end["note"], str(down)
    assert "a last word, 10 %" in end["note"], str(down)
    assert end["seconds"] >= KILLED, str(down)
    assert "forcing" in _phases(host, "killed"), _phases(host, "killed")


def _phases(host: Dom0, name: str) -> list[str]:
    """Return the phases that a domain went through in the newest run."""
    found: dict[str, Any] = host.lamplighter("history", name, "--transitions").document
    return [one["after"] for one in found["runs"][0]["transitions"] if one["name"] == name]
