"""``on_host``: runs a test's story on the host under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.under_test import UnderTest, host_under_test, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Story = Callable[[UnderTest], Awaitable[None]]


@pytest.fixture
def on_host(tmp_path: Path) -> Callable[[Story], None]:
    """Return what runs a story, and afterwards takes its domains away."""

    def tell(story: Story) -> None:
        async def main() -> None:
            async with host_under_test(tmp_path) as host:
                await story(host)

        run(main())

    return tell
