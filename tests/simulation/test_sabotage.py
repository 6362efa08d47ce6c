"""Each deliberate defect still has its place in the product; whether it is found takes longer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.simulation.sabotage import SABOTAGES, Sabotage

DOCUMENTED = Path(__file__).parents[2] / "docs" / "simulation.md"


@pytest.mark.parametrize("sabotage", SABOTAGES.values(), ids=SABOTAGES)
def test_its_text_stands_once_in_its_module(sabotage: Sabotage) -> None:
    spec = find_spec(sabotage.module)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).read_text(encoding="utf-8").count(sabotage.right) == 1


@pytest.mark.parametrize("name", SABOTAGES)
def test_it_is_documented(name: str) -> None:
    module = SABOTAGES[name].module.removeprefix("lamplighter.").replace(".", "/")
    assert f"| `{module}` | {name} |" in DOCUMENTED.read_text(encoding="utf-8")
