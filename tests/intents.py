"""Intents and holds for tests, and how they are changed and recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.run import Direction
from tests import virtual
from tests.simulated import CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RELEASED = Path(__file__).parent / "data" / "journal"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WEB = UUID(int=1)
HOLD = Hold("db", "db", "disk 3 is broken", "carl", AT)
MEANT = Intent("web", "web", Meant.UP, "asked", "anna", AT, "boot", 4)
SAID = Intents({"web": MEANT}, {"db": HOLD}, number=2)


def change(directory: Path, *changes: Callable[[IntentStore], Awaitable[object]]) -> None:
    async def main() -> None:
        store = IntentStore(directory, CLOCK)
        for one in changes:
            await one(store)

    virtual.run(main())


def begin_run(directory: Path, number: int | None = None) -> None:
    """Have a run that goes by the intents as they are now, or by those of this number."""
    number = load_intents(directory).number if number is None else number

    async def main() -> None:
        journal = Journal.open(directory, threaded=False)
        await journal.begin(Direction.UP, "boot", AT, number)
        await journal.close()

    virtual.run(main())
