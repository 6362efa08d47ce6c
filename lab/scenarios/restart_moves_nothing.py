"""A restart, reload or new installation of either unit changes no domain; a stop does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import wheels
from lab.steps import MONITOR, UNIT, outcomes, runs_of

if TYPE_CHECKING:
    from lab.dom0 import Dom0

SUBJECT = (
    "src/lamplighter/host/systemd/systemctl.py",
    "src/lamplighter/service/unit/systemd_job.py",
    "src/lamplighter/service/installation.py",
    "src/lamplighter/units/*",
    "src/lamplighter/host/systemd/scopes.py",
)
SHARE = 0
SECONDS = 290
DEADLINE = 900.0
USUALLY = {"bookworm"}
NAMES = ("mail", "db", "web", "a", "b", "c")
UP = set(NAMES) - {"mail"}


def run(host: Dom0) -> None:
    host.define_all(dict.fromkeys(NAMES, "prompt"), on_xend_start="start")
    host.run(f"systemctl start {MONITOR} {UNIT}", timeout=150)
    assert host.lamplighter("down", "mail").status == 0
    before = host.domids()
    assert set(before) == UP, before
    runs = len(runs_of(host))

    for verb in ("restart", "reload", "try-restart"):
        host.run(f"systemctl {verb} {UNIT}", timeout=120)
        _unmoved(host, before, f"systemctl {verb}")
    for verb in ("restart", "stop", "start"):
        host.run(f"systemctl {verb} {MONITOR}", timeout=120)
        _unmoved(host, before, f"systemctl {verb} {MONITOR}")
    _install_again(host)
    _unmoved(host, before, "another installation")
    host.run(f"systemctl restart {UNIT}", timeout=120)
    _unmoved(host, before, "systemctl restart after another installation")
    assert len(runs_of(host)) == runs, "a restart is not a run"

    host.run(f"systemctl stop {UNIT}", timeout=150)
    stop = runs_of(host)[0]
    assert outcomes(stop) == dict.fromkeys(UP, "clean"), stop
    assert host.domids() == {}
    assert host.unit(UNIT)["Result"] == "success", host.unit(UNIT)

    _a_start_goes_on(host)
    host.run(f"systemctl stop {UNIT}", timeout=150)
    assert host.domids() == {}


def _unmoved(host: Dom0, before: dict[str, int], what: str) -> None:
    now = host.domids()
    assert now == before, f"{what}: {before} became {now}"
    unit = host.unit(UNIT)
    assert (unit["ActiveState"], unit["Result"]) == ("active", "success"), f"{what}: {unit}"


def _install_again(host: Dom0) -> None:
    """As an upgrade does it, with a unit that differs from the one that is there."""
    wheel = wheels.product()
    host.copy([wheel], "/root")
    host.run(f"{wheels.PIP} --quiet --no-deps --force-reinstall /root/{wheel.name}", timeout=180)
    host.run(f"echo '# an older one' >>/etc/systemd/system/{UNIT}")
    host.run("lamplighter install", timeout=120)


def _a_start_goes_on(host: Dom0) -> None:
    """A restart that comes while the unit starts: what was begun stays, and the rest comes up."""
    # While it is being created a domain has no name for a moment.
    listed = "xl list | awk 'NR > 2 && $1 != \"(null)\" { print $2, $1 }'"
    listing = host.run(
        f"systemctl start --no-block {UNIT}; until {listed} | grep .; do sleep 0.2; done;"
        f" systemctl restart {UNIT}",
        timeout=320,
    ).stdout
    first = {name: int(domid) for domid, name in map(str.split, listing.splitlines())}
    assert set(first) < set(NAMES), f"it was not in the middle: {first}"
    now = host.domids()
    assert set(now) == set(NAMES), f"{first} became {now}"
    assert {name: now[name] for name in first} == first, f"{first} became {now}"
