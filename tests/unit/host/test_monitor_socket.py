"""The monitor's socket: whom it answers, and what a client makes of what it finds there."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import ConfigurationError
from lamplighter.host import monitor_socket
from lamplighter.host.monitor_socket import CLIENTS, FILE_NAME, MonitorSocket, ask_monitor
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, MonitorState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MANY = tuple(
    DomainEvent(Change.CAME, f"web-{n}", UUID(int=n), n, Initiator.TOOL, "another tool", AT, "boot")
    for n in range(1, 3000)
)
WATCHED = MonitorState("boot", AT, AT, "", MANY)


def serving(folder: Path, story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        server = MonitorSocket(folder, lambda: WATCHED)
        await server.open()
        try:
            await story()
        finally:
            server.close()
        assert not (folder / FILE_NAME).exists()

    asyncio.run(main())


def test_who_asks_gets_an_answer(tmp_path: Path) -> None:
    async def story() -> None:
        assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
        answers = [asyncio.to_thread(ask_monitor, tmp_path, 20.0) for _ in range(5)]
        assert await asyncio.gather(*answers) == [WATCHED] * 5

    serving(tmp_path, story)


def test_another_user_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(monitor_socket, "_user_of", lambda _: 12345)
        reader, writer = await asyncio.open_unix_connection(tmp_path / FILE_NAME)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    serving(tmp_path, story)


def test_an_answer_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        users = iter((0, 12345))  # the server's look at us, our look at the server
        monkeypatch.setattr(monitor_socket, "_user_of", lambda _: next(users))
        assert await asyncio.to_thread(ask_monitor, tmp_path, 20.0) is None

    serving(tmp_path, story)


def test_clients_that_do_not_read_give_way_to_those_that_do(tmp_path: Path) -> None:
    async def story() -> None:
        idle = []
        for _ in range(2 * CLIENTS):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(tmp_path / FILE_NAME))
            idle.append(client)
        assert await asyncio.to_thread(ask_monitor, tmp_path, 20.0) == WATCHED
        for client in idle:
            client.close()

    serving(tmp_path, story)


def answered(folder: Path, answer: bytes | None) -> MonitorState | None:
    """Ask at a socket where somebody answers this, or nothing at all."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / FILE_NAME))
        server.listen()

        def serve() -> None:
            with server.accept()[0] as client:
                client.sendall(answer or b"")

        thread = threading.Thread(target=serve)
        if answer is not None:
            thread.start()
        try:
            return ask_monitor(folder, 0.05 if answer is None else 5.0)
        finally:
            if answer is not None:
                thread.join()
            (folder / FILE_NAME).unlink()


def test_what_is_no_answer_is_none(tmp_path: Path) -> None:
    assert ask_monitor(tmp_path) is None
    for nonsense in (None, b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, b"7"):
        assert answered(tmp_path, nonsense) is None, nonsense


def test_an_answer_without_end_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_socket, "ANSWER_MAX", 1000)
    assert answered(tmp_path, json.dumps("x" * 2000).encode()) is None


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / FILE_NAME))
    assert ask_monitor(tmp_path) is None

    async def story() -> None:
        assert await asyncio.to_thread(ask_monitor, tmp_path, 20.0) == WATCHED

    serving(tmp_path, story)


def test_a_folder_that_cannot_be_made_is_reported_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    server = MonitorSocket(tmp_path / "run" / "lamplighter", lambda: WATCHED)
    with pytest.raises(ConfigurationError, match="cannot be made: Not a directory") as caught:
        asyncio.run(server.open())
    assert caught.value.where == str(tmp_path / "run" / "lamplighter")
    assert "[host] run" in caught.value.hint
