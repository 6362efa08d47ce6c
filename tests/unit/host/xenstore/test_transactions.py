"""The XenStore client's transactions: conflicts, errors, and being cancelled in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import StoreConflict, XenStoreError
from lamplighter.host.xenstore.client import TRANSACTION_ATTEMPTS
from lamplighter.xenstore.wire import Op
from tests.store_client import CLOCK, named, on_a_store

if TYPE_CHECKING:
    from lamplighter.host.xenstore.client import XenStore
    from tests.small_store import SmallStore


def test_a_transaction_is_committed_once_with_all_its_requests() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> bytes:
            await client.write("/a/x", b"1", tx)
            return await client.read("/a/b", tx)

        used: set[int] = set()
        store.rules[Op.WRITE] = lambda _, request: used.add(request.tx_id)
        assert await client.transact(change) == b"value"
        assert store.values["/a/x"] == b"1"
        assert used == {1}
        assert store.connections[0].transactions == set()

    on_a_store(body)


def test_a_transaction_in_conflict_is_done_again_from_its_start() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.conflicts = 3
        seen: list[int] = []

        async def change(tx: int) -> None:
            seen.append(tx)
            await client.write("/a/x", b"1", tx)

        await client.transact(change)
        assert len(set(seen)) == 4
        assert store.seen["TRANSACTION_END"] == 4

    on_a_store(body)


def test_a_transaction_does_not_conflict_for_ever() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        store.conflicts = 1000

        async def nothing(_: int) -> None:
            return

        with pytest.raises(StoreConflict, match="64 times in a row"):
            await client.transact(nothing)
        assert store.seen["TRANSACTION_START"] == TRANSACTION_ATTEMPTS

    on_a_store(body)


def test_an_error_in_a_transaction_aborts_it() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> None:
            await client.write("/a/x", b"1", tx)
            await client.read("/none", tx)

        assert await named(client.transact(change)) == "ENOENT"
        await client.read("/a/b")
        assert store.connections[0].transactions == set()
        assert store.seen["TRANSACTION_END"] == 1

    on_a_store(body)


def test_a_transactions_number_means_nothing_after_its_end() -> None:
    async def body(_: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> int:
            return tx

        tx = await client.transact(change)
        with pytest.raises(XenStoreError, match=f"transaction {tx} has ended"):
            await client.read("/a/b", tx)

    on_a_store(body)


@pytest.mark.parametrize("turns", range(8))
def test_a_transaction_cancelled_at_any_moment_leaves_none_open(turns: int) -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        async def change(tx: int) -> None:
            await client.write("/a/x", b"1", tx)

        task = asyncio.create_task(client.transact(change))
        turn = asyncio.Event()
        for _ in range(turns):
            asyncio.get_running_loop().call_soon(turn.set)
            await turn.wait()
            turn.clear()
        task.cancel()
        await asyncio.wait([task])
        await CLOCK.sleep(1)
        assert await client.read("/a/b") == b"value"
        assert store.connections[0].transactions == set()
        assert client._transactions == {}

    on_a_store(body, seed=turns)


def test_a_start_cancelled_while_the_server_thinks_is_aborted_when_it_answers() -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")

        async def nothing(_: int) -> None:
            return

        store.connections[0].hold()
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(1):
                await client.transact(nothing)
        assert store.connections[0].transactions == {1}
        store.connections[0].release()
        await CLOCK.sleep(1)
        assert store.connections[0].transactions == set()

    on_a_store(body)


@pytest.mark.parametrize("error", ["", "ENOSPC"])
def test_a_start_cancelled_and_then_never_done_needs_no_abort(error: str) -> None:
    async def body(store: SmallStore, client: XenStore) -> None:
        await client.read("/a/b")

        async def nothing(_: int) -> None:
            return

        if error:
            store.rules[Op.TRANSACTION_START] = lambda connection, request: connection.wire.error(
                request, error
            )
        store.connections[0].hold()
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(1):
                await client.transact(nothing)
        if error:
            store.connections[0].release()
        else:
            store.drop()
        await CLOCK.sleep(10)
        assert store.seen["TRANSACTION_END"] == 0
        assert await client.read("/a/b") == b"value"

    on_a_store(body)
