"""A client of a small XenStore, on virtual time, for tests of what the client does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.errors import XenStoreError
from lamplighter.host.clock import LoopClock
from lamplighter.host.xenstore.client import XenStore
from tests import virtual
from tests.small_store import SmallStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Body = Callable[[SmallStore, XenStore], Awaitable[None]]

CLOCK = LoopClock()


def on_a_store(body: Body, seed: int | None = 1) -> None:
    """Run the body with a store and a client of it."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with SmallStore(Path(folder) / "socket") as store:
                store.values = {"/a": b"", "/a/b": b"value", "/local/domain/3": b""}
                client = await XenStore.connect(str(store.path), CLOCK)
                try:
                    async with CLOCK.timeout(3600):
                        await body(store, client)
                finally:
                    await client.close()

    virtual.run(main(), seed=seed)


async def named(request: Awaitable[Any]) -> str:
    """Return the name of the error a request ends with."""
    with pytest.raises(XenStoreError) as caught:
        await request
    return caught.value.name
