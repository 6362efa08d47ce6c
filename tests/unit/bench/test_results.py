"""What the benchmarks keep, and which rows fell back."""

from __future__ import annotations

import pytest

from bench.ratio import Ratio
from bench.results import Results, Row, fallen_back, format_results, parse_results, to_results

STOP = Row(1.2, at_most=True, processor=4.0)
READS = Row(2.0, at_most=False)
KEPT = Results("abc1234", "2026-11-30", 0.1, {"stop": STOP, "reads": READS})


def now(*, reference: float = 0.1, **rows: Row) -> Results:
    return KEPT._replace(commit="def5678", reference=reference, rows={**KEPT.rows, **rows})


def test_what_is_kept_is_read_again() -> None:
    assert parse_results(format_results(KEPT)) == KEPT


def test_of_a_row_its_ratio_and_processor_time_are_kept() -> None:
    ratio = Ratio("stop", 12.0, 10.0, 1.2, "s", 1.5, at_most=True, processor=4.0)
    assert to_results([ratio], "abc", "today", 0.1) == Results("abc", "today", 0.1, {"stop": STOP})
    assert "processor 4.00 s" in str(ratio)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": {"stop": {}}}', '{"rows": 3}'])
def test_what_is_not_ours_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_results(text)


def test_a_quarter_is_no_falling_back() -> None:
    assert fallen_back(KEPT, KEPT) == []
    better = {"stop": STOP._replace(ratio=0.5, processor=1.0), "reads": READS._replace(ratio=9.0)}
    assert fallen_back(KEPT, now(**better)) == []
    slower = {"stop": STOP._replace(ratio=1.5, processor=5.0), "reads": READS._replace(ratio=1.6)}
    assert fallen_back(KEPT, now(**slower)) == []


def test_more_than_a_quarter_is_reported_whichever_way_is_better() -> None:
    assert fallen_back(KEPT, now(stop=STOP._replace(ratio=1.51))) == [
        "stop: ratio 1.20 became 1.51"
    ]
    assert fallen_back(KEPT, now(reads=READS._replace(ratio=1.59))) == [
        "reads: ratio 2.00 became 1.59"
    ]


def test_what_must_not_happen_at_all_has_no_tolerance() -> None:
    kept = KEPT._replace(rows={"woken": Row(0.0, at_most=True)})
    assert fallen_back(kept, kept) == []
    (told,) = fallen_back(kept, now(woken=Row(1.0, at_most=True)))
    assert "woken: ratio 0.00 became 1.00" in told


def test_processor_time_is_compared_by_the_speed_of_the_machine() -> None:
    twice = STOP._replace(processor=8.0)
    assert fallen_back(KEPT, now(stop=twice)) == ["stop: 4.00 s of processor time became 8.00 s"]
    assert fallen_back(KEPT, now(stop=twice, reference=0.2)) == []
    assert fallen_back(KEPT, now(reference=0.05)) == [
        "stop: 2.00 s of processor time became 4.00 s"
    ]


def test_a_row_that_is_not_measured_any_more_is_reported_and_a_new_one_is_not() -> None:
    fewer = KEPT._replace(rows={"reads": READS, "new": READS})
    assert fallen_back(KEPT, fewer) == ["stop: not measured this time"]
