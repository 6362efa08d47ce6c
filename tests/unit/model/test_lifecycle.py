"""The one transition table, and the page that shows it."""

from __future__ import annotations

import pytest

from lamplighter.model.lifecycle import TRANSITIONS, ImpossibleTransition, Phase, check_transition
from tools.lifecycle import PAGE, page


def test_every_phase_has_its_row_and_a_way_to_the_end() -> None:
    assert set(TRANSITIONS) == set(Phase)
    for phase in Phase:
        reached, frontier = {phase}, {phase}
        while frontier:
            frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
            reached |= frontier
        assert Phase.ABSENT in reached


def test_an_arrow_that_is_not_in_the_table_is_a_defect() -> None:
    assert check_transition(Phase.UP, Phase.UP) is Phase.UP
    with pytest.raises(ImpossibleTransition, match="forcing -> acknowledged"):
        check_transition(Phase.FORCING, Phase.ACKNOWLEDGED)


def test_the_page_is_generated_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run tools/lifecycle.py"
