"""Policy in plain words."""

from __future__ import annotations

import pytest

from lamplighter.engine.explain import when_host_starts, when_host_stops
from lamplighter.model.domain import Kind
from lamplighter.model.policy import Policy, Setting, Start, Stop
from lamplighter.model.problem import Problem

BARRED = Problem("definition", "is broken")


@pytest.mark.parametrize(
    ("start", "blocked", "says"),
    [
        (Start.NEVER, None, "not started with the host; lamplighter up web starts it."),
        (Start.NEVER, BARRED, "not started with the host; nothing starts it."),
        (Start.ALWAYS, None, "It is started with the host."),
        (Start.ALWAYS, None, "has run for 1min 30s without that."),
        (Start.ALWAYS, BARRED, "should be started with the host and is not"),
    ],
)
def test_the_hosts_start(start: Start, blocked: Problem | None, says: str) -> None:
    policy = Policy(start=Setting(start), start_timeout=Setting(90.0))
    assert says in when_host_starts("web", policy, blocked)


@pytest.mark.parametrize(
    ("stop", "kind", "says"),
    [
        (Stop.SHUTDOWN, Kind.PV, "It is asked to shut down when the host stops"),
        (Stop.SHUTDOWN, Kind.PV, "not acknowledged for 20s. If it is not down after 1min,"),
        (Stop.SHUTDOWN, Kind.HVM, "its power button is pressed after 10s. If it is not down"),
        (Stop.SHUTDOWN, None, "it is destroyed."),
        (Stop.LEAVE, Kind.PV, "left running when the host stops"),
        (Stop.DESTROY, Kind.PV, "destroyed when the host stops, without being asked"),
    ],
)
def test_the_hosts_stop(stop: Stop, kind: Kind | None, says: str) -> None:
    policy = Policy(stop=Setting(stop), ack_timeout=Setting(30.0), stop_timeout=Setting(60.0))
    assert says in when_host_stops(policy, kind)


def test_a_short_stop_hurries_the_power_button() -> None:
    policy = Policy(stop_timeout=Setting(9.0))
    assert "pressed after 3s" in when_host_stops(policy, Kind.HVM)
    assert "button" not in when_host_stops(policy, Kind.PVH)


@pytest.mark.parametrize(
    ("extend_max", "budget", "says"),
    [
        (0.0, 0.0, "it is destroyed."),
        (60.0, 0.0, "it is destroyed. An agent in it may ask for up to 1min more."),
        (60.0, 240.0, "it is destroyed. An agent in it may ask for up to 1min more."),
        (60.0, 200.0, "more. The whole stop has no more than 3min 20s (stop_budget): what is not"),
        (0.0, 90.0, "destroyed. The whole stop has no more than 1min 30s (stop_budget): what"),
    ],
)
def test_more_time_and_the_budget(extend_max: float, budget: float, says: str) -> None:
    told = when_host_stops(Policy(extend_max=Setting(extend_max)), Kind.PV, budget)
    assert says in told
    assert ("stop_budget" in told) == ("stop_budget" in says)
