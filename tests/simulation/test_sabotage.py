"""Each deliberate defect still has its place in the product; whether it is found takes longer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.simulation.sabotage import SABOTAGES, Sabotage


@pytest.mark.parametrize("sabotage", SABOTAGES.values(), ids=SABOTAGES)
def test_its_text_stands_once_in_its_module(sabotage: Sabotage) -> None:
    spec = find_spec(sabotage.module)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).read_text(encoding="utf-8").count(sabotage.right) == 1
