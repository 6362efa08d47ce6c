"""Which scenarios a host begins before its time is up, and which it tries twice."""

from __future__ import annotations

from lab.bench import Bench, Verdict
from lab.clock import Deadline
from lab.scenario import Scenario, all_scenarios

LONG, BRIEF = all_scenarios("reaper_killed,killed_runs")


class Failing(Bench):
    """A host on which each scenario fails."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def _told(self, scenario: Scenario, *, before: str = "") -> Verdict:
        self.tried.append(scenario.name)
        return Verdict("a host", scenario.name, 1.0, "not as promised", before)


def test_what_failed_is_tried_again() -> None:
    bench = Failing()
    (verdict,) = bench.run([BRIEF], Deadline(1e6))
    assert bench.tried == [BRIEF.name] * 2
    assert verdict.before == verdict.reason == "not as promised"


def test_what_would_not_end_in_time_is_not_begun_and_the_next_may_fit() -> None:
    assert BRIEF.seconds < LONG.seconds
    bench = Failing()
    bench.run([LONG, BRIEF], Deadline((BRIEF.seconds + LONG.seconds) / 2))
    assert set(bench.tried) == {BRIEF.name}


def test_nothing_is_begun_when_no_time_is_left() -> None:
    bench = Failing()
    assert bench.run([BRIEF, LONG], Deadline(0)) == []
    assert bench.tried == []
