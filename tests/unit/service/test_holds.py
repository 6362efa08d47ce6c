"""Which held domain a name or UUID means once its definition is gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.engine.naming import means_hold
from lamplighter.errors import UsageError
from lamplighter.host.clock import LoopClock
from lamplighter.host.journal.intents import IntentStore
from lamplighter.host.journal.reader import JournalReader
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold
from lamplighter.model.policy import Configuration, HostSettings, Setting
from lamplighter.service.holds import release_domain

if TYPE_CHECKING:
    from pathlib import Path

UUID_WEB = UUID("00000000-0000-4000-8000-00000000000a")
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WEB = Hold(str(UUID_WEB), "web", "disk broken", "anna", AT)
#: A domain without a UUID is held under its name.
DB = Hold("db", "db", "disk broken", "anna", AT)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """No definition, and no host that could be asked."""
    asyncio.run(IntentStore(tmp_path, LoopClock()).hold(WEB, DB))
    settings = HostSettings(
        toolstack=Setting("embedded"), run=Setting(str(tmp_path)), state=Setting(str(tmp_path))
    )
    return Configuration(host=settings)


@pytest.mark.parametrize(
    ("given", "released"),
    [("web", WEB), (str(UUID_WEB), WEB), (str(UUID_WEB).upper(), WEB), ("db", DB)],
)
def test_a_held_domain_that_nobody_knows_any_more_is_released(
    configuration: Configuration, given: str, released: Hold
) -> None:
    assert asyncio.run(release_domain(given, configuration)) == (given, released)


@pytest.mark.parametrize("given", ["DB", "WEB", "nobody"])
def test_a_name_is_taken_as_it_is(configuration: Configuration, given: str) -> None:
    with pytest.raises(UsageError, match=f"there is no domain '{given}'"):
        asyncio.run(release_domain(given, configuration))


@pytest.mark.parametrize(
    "given", ["web", "WEB", "db", "DB", str(UUID_WEB), str(UUID_WEB).upper(), "nobody"]
)
def test_the_journal_compares_as_names_are_compared(tmp_path: Path, given: str) -> None:
    async def write() -> None:
        journal = Journal.open(tmp_path, threaded=False)
        await journal.record_holds(WEB, DB)
        await journal.close()

    asyncio.run(write())
    told = [past.hold for past in JournalReader(tmp_path).holds(given)]
    assert told == [hold for hold in (DB, WEB) if means_hold(given, hold)]
