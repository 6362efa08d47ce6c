"""What the tests of the journal share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.host.journal.intents import load_intents
from tests.intents import HOLD, MEANT, SAID, change

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory in which one domain is meant to be up, and another one is held."""
    change(tmp_path, lambda store: store.intend(MEANT), lambda store: store.hold(HOLD))
    assert load_intents(tmp_path) == SAID
    return tmp_path
