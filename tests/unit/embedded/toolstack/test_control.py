"""The control socket and its calls: hostile lines, faults, clients that do not read or wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.embedded.host import EmbeddedHost
from lamplighter.embedded.toolstack.calls import CALLS
from lamplighter.embedded.toolstack.control import LINE_MAX
from lamplighter.errors import (
    CallFailed,
    CallTimedOut,
    ConfigurationError,
    ToolstackUnreachable,
)
from lamplighter.host.clock import LoopClock
from lamplighter.toolstacks.embedded import CONNECTIONS, ControlClient, Refused
from tests import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLOCK = LoopClock()


def on_host(body: Callable[[EmbeddedHost, Path], Awaitable[None]]) -> None:
    async def main(folder: Path) -> None:
        async with EmbeddedHost(folder / "run", CLOCK, 1) as host, CLOCK.timeout(3600):
            await body(host, folder)

    with tempfile.TemporaryDirectory(prefix="lamp-") as folder:
        virtual.run(main(Path(folder)), seed=1)


async def exchange(host: EmbeddedHost, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines on one connection and return all answers until it is closed, or as many."""
    reader, writer = await asyncio.open_unix_connection(str(host.control_path), limit=1 << 24)
    writer.write(b"".join(lines))
    answers = []
    while len(answers) < len(lines) and (line := await reader.readline()):
        answers.append(json.loads(line))
    writer.close()
    return answers


def client(host: EmbeddedHost, timeout: float = 5.0) -> ControlClient:
    return ControlClient(host.control_path, CLOCK, timeout)


def define(folder: Path, text: str = "") -> str:
    path = folder / "web.cfg"
    path.write_text(f'name = "web"\nuuid = "00000000-0000-4000-8000-000000000001"\n{text}')
    return str(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"{", "JSON"),
        (b"[" * 40_000, "JSON"),
        (b"1" * 5_000, "JSON"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (b'{"call": 7}', "an object"),
        (b'{"call": "explode"}', "there is no call 'explode'"),
        (b'{"call": "list", "all": true}', "there is no argument 'all'"),
        (b'{"call": "create"}', "path: expected a string"),
        (b'{"call": "create", "path": 7}', "path: expected a string"),
        (b'{"call": "create", "path": "/nowhere/web.cfg"}', "No such file"),
        (b'{"call": "create", "path": "/"}', "not a file"),
        (b'{"call": "create", "path": "/dev/zero"}', "not a file"),
        (b'{"call": "create", "path": "a\\u0000b"}', "cannot be read"),
        (b'{"call": "create", "path": "\\ud800"}', "cannot be read"),
        (b'{"call": "destroy", "domid": -1}', "0 to 32767"),
        (b'{"call": "destroy", "domid": true}', "0 to 32767"),
        (b'{"call": "destroy", "domid": 1e999}', "0 to 32767"),
        (b'{"call": "destroy", "domid": 99}', "there is no domain 99"),
        (b'{"call": "destroy", "domid": 0}', "cannot be destroyed"),
        (b'{"call": "press-power", "domid": 0}', "not an HVM domain"),
        (b'{"call": "epitaph", "domid": 1, "uuid": "x"}', "a UUID"),
        (b'{"call": "kill-reaper", "domid": 1}', "no process"),
        (b'{"call": "busy", "listing": -1}', "0 to 86400"),
        (b'{"call": "fault", "of": "list", "how": "badly"}', "fail, half, hang, slow"),
        (b'{"call": "fault", "of": "lust", "how": "fail"}', "there are list"),
        (b'{"call": "restart-xenstore", "seconds": NaN}', "0 to 86400"),
        (b'{"call": "restart-xenstore", "seconds": "soon"}', "a number of seconds"),
    ],
)
def test_a_wrong_request_is_answered_and_the_next_one_carried_out(line: bytes, says: str) -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        wrong, right = await exchange(host, line + b"\n", b'{"call": "status"}\n')
        assert says in wrong["error"]["message"]
        assert right["ok"]["boot_id"] == host.boot_id

    on_host(body)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_that_is_listed_exists_and_refuses_an_argument_it_has_not(name: str) -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        request = {"call": name, "path": 7, "domid": 1, "uuid": "x", "of": "list", "how": "fail"}
        (answer,) = await exchange(host, json.dumps({**request, "more": 1}).encode() + b"\n")
        assert answer["error"]["code"] == "bad-request"
        assert answer["error"]["message"].startswith(f"{name}: ")

    on_host(body)


@pytest.mark.parametrize(
    "sent", [b"x" * (LINE_MAX + 1), b"x" * (4 * LINE_MAX) + b"\n", b"{}\n" * 20_000]
)
def test_too_much_ends_the_connection_and_nobody_elses(sent: bytes) -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(host.control_path))
        answers = b""
        with contextlib.suppress(ConnectionError):  # it may hang up before all is sent
            writer.write(sent)
            await writer.drain()
            answers = await reader.read()
        assert not answers or b"expected lines of up to" in answers.splitlines()[-1]
        assert not host._control._connections
        writer.close()
        assert (await client(host).call("list"))["domains"][0]["domid"] == 0

    on_host(body)


def test_a_client_that_does_not_read_costs_no_memory_and_does_not_hold_up_the_end() -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(host.control_path), limit=1)
        for _ in range(20_000):
            with contextlib.suppress(ConnectionError):
                writer.write(b'{"call": "list"}\n' * 8)
            await CLOCK.sleep(0.001)
            if not host._control._connections or writer.transport.get_write_buffer_size():
                break
        else:
            raise AssertionError("it was read on and on")
        for connection in host._control._connections:
            assert connection._transport.get_write_buffer_size() < 1 << 18
        writer.transport.abort()
        assert reader is not None

    on_host(body)


def test_the_host_ends_although_a_client_does_not_read() -> None:
    async def main(folder: Path) -> None:
        async with EmbeddedHost(folder / "run", CLOCK, 1) as host:
            _, writer = await asyncio.open_unix_connection(str(host.control_path), limit=1)
            for _ in range(600):
                with contextlib.suppress(ConnectionError):
                    writer.write(b'{"call": "fault"}\n{"call": "status"}\n' * 16)
                await CLOCK.sleep(0.001)
        writer.transport.abort()

    with tempfile.TemporaryDirectory(prefix="lamp-") as folder:
        virtual.run(main(Path(folder)), seed=1)


def test_a_call_goes_on_although_its_caller_has_gone() -> None:
    async def body(host: EmbeddedHost, folder: Path) -> None:
        await client(host).call("fault", of="create", how="slow", seconds=10)
        with pytest.raises(CallTimedOut, match="within 5 s"):
            await client(host).call("create", path=define(folder))
        assert len(host.xl.list()) == 1
        await CLOCK.sleep(10)
        assert [seen.name for seen in host.xl.list()] == ["Domain-0", "web"]

    on_host(body)


def test_faults_are_used_up_one_by_one_and_can_be_cleared() -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        caller = client(host)
        await caller.call("fault", of="list", how="fail", times=2)
        for _ in range(2):
            with pytest.raises(Refused, match="an injected fault"):
                await caller.call("list")
        await caller.call("list")
        await caller.call("fault", of="list", how="hang", times=5)
        with pytest.raises(CallTimedOut):
            await caller.call("list")
        await caller.call("clear-faults")
        await caller.call("list")

    on_host(body)


def test_a_defect_in_a_call_is_reported_and_its_caller_does_not_wait() -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        heard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

        def broken() -> frozenset[str]:
            raise ZeroDivisionError

        host.xl.creating = broken  # type: ignore[method-assign]
        with pytest.raises(CallFailed, match="closed the connection"):
            await client(host).call("creating")
        assert any(isinstance(each.get("exception"), ZeroDivisionError) for each in heard)

    on_host(body)


def test_a_thousand_calls_at_once_are_all_answered() -> None:
    async def body(host: EmbeddedHost, _: Path) -> None:
        caller = client(host, 60.0)
        calls = [caller.call("epitaph", domid=1, uuid=host.boot_id) for _ in range(1000)]
        assert await asyncio.gather(*calls) == [{"reason": None}] * 1000
        assert CONNECTIONS < 1000

    on_host(body)


def test_no_host_differs_from_one_that_fails(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ToolstackUnreachable, match="no embedded host answers"):
            await ControlClient(tmp_path / "none", CLOCK, 1.0).call("list")

    virtual.run(main())


def test_who_may_not_ask_the_host_is_not_told_to_start_one(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ToolstackUnreachable, match="refuses access") as caught:
            await ControlClient(tmp_path / "closed" / "socket", CLOCK, 1.0).call("list")
        assert "start" not in caught.value.hint.split(",")[0]

    (tmp_path / "closed").mkdir(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may enter everywhere
    try:
        virtual.run(main())
    finally:
        os.seteuid(before)


def test_a_folder_too_deep_for_a_socket_is_reported(tmp_path: Path) -> None:
    async def main() -> None:
        async with EmbeddedHost(tmp_path / ("deep" * 30), CLOCK):
            raise AssertionError("it cannot have a socket")

    with pytest.raises(ConfigurationError, match="a socket's may have 107"):
        virtual.run(main())


@pytest.mark.parametrize(
    "answer", [b"", b"hello\n", b"[]\n", b'{"ok": 7}\n', b'{"error": 1}\n', b'{"no": 1}\n']
)
def test_an_answer_that_is_none_is_a_failed_call(tmp_path: Path, answer: bytes) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
        with pytest.raises(CallFailed):
            await ControlClient(tmp_path / "s", CLOCK, 1.0).call("list")
        server.close()

    virtual.run(main())
