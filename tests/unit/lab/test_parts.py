"""The table of what each part of a run took."""

from __future__ import annotations

import pytest

from lab import parts
from lab.parts import Parts


class Watch:
    """A clock that is set."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The clock that the parts are measured with."""
    made = Watch()
    monkeypatch.setattr(parts, "time", made)
    return made


def test_parts_are_reported_in_their_order_with_their_sum(watch: Watch) -> None:
    told = Parts([("test", 140.0), ("simulation", 100.0)])
    with told.measure("lab: images"):
        watch.now += 60

    assert str(told).splitlines() == [
        "test                  140 s",
        "simulation            100 s",
        "lab: images            60 s",
        "all (5.0 minutes)     300 s",
    ]


def test_a_part_that_fails_is_told_too(watch: Watch) -> None:
    told = Parts()

    def build() -> None:
        with told.measure("lab: images"):
            watch.now += 7
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        build()

    assert str(told).splitlines()[0].split() == ["lab:", "images", "7", "s"]
