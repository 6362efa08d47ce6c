"""What a test has opened of a database is closed at its end, whatever it came to.

Python 3.13 warns of a connection that was never closed, in whichever test the collector runs.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def databases_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect, opened = sqlite3.connect, list[sqlite3.Connection]()

    def remembered(*args: Any, **keys: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **keys))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    yield
    for connection in opened:
        connection.close()
