"""XenStore as its clients rely on it: watches, transactions, errors by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import XenStoreError
from tests.contract.under_test import NODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.contract.conftest import Story
    from tests.contract.under_test import UnderTest

    OnHost = Callable[[Story], None]

NODE = f"{NODES}/node"


async def error_of(request: Awaitable[object]) -> str:
    with pytest.raises(XenStoreError) as caught:
        await request
    return caught.value.name


def test_nodes_are_made_read_listed_and_removed(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        store = host.xenstore
        await store.write(f"{NODE}/a/b", b"\x00\xff any bytes")
        await store.mkdir(f"{NODE}/c")
        assert await store.read(f"{NODE}/a/b") == b"\x00\xff any bytes"
        assert await store.read(f"{NODE}/a") == b""
        assert sorted(await store.directory(NODE)) == ["a", "c"]
        await store.rm(f"{NODE}/a")
        assert await store.directory(NODE) == ["c"]
        assert await error_of(store.read(f"{NODE}/a/b")) == "ENOENT"
        assert await error_of(store.directory(f"{NODE}/a")) == "ENOENT"

    on_host(story)


def test_a_watch_fires_once_when_it_is_set_and_for_what_is_below(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        store, fired = host.xenstore, list[str]()
        watch = await store.watch(NODE, fired.append)
        await host.hears(fired, NODE)
        assert fired == [NODE]
        await store.write(f"{NODE}/below", b"1")
        await host.hears(fired, f"{NODE}/below")
        await store.unwatch(watch)
        fired.clear()
        await store.write(f"{NODE}/below", b"2")

        async def is_silent() -> bool:
            return not fired

        await host.holds(is_silent, 1)

    on_host(story)


def test_a_transaction_that_conflicts_is_done_again(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        store, seen = host.xenstore, list[bytes]()
        await store.write(NODE, b"before")

        async def body(tx: int) -> None:
            seen.append(await store.read(NODE, tx))
            if len(seen) == 1:
                await store.write(NODE, b"meanwhile")  # by somebody else
            await store.write(NODE, seen[-1] + b", then this", tx)

        await store.transact(body)

        assert seen == [b"before", b"meanwhile"]
        assert await store.read(NODE) == b"meanwhile, then this"

    on_host(story)


def test_a_transaction_is_seen_by_nobody_until_it_ends_or_fails(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        store = host.xenstore
        await store.write(NODE, b"before")
        fired = await host.listen(NODE)

        async def body(tx: int) -> None:
            await store.write(NODE, b"after", tx)
            assert await store.read(NODE, tx) == b"after"
            assert await store.read(NODE) == b"before"
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(body)
        assert await store.read(NODE) == b"before"
        assert not fired

    on_host(story)
