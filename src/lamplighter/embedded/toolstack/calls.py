"""The calls of the embedded host's control socket: argument checks and implementations."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.embedded.guests.behaviour import read_embedded_definition
from lamplighter.embedded.toolstack.control import BadRequest
from lamplighter.embedded.toolstack.faults import Fault, How
from lamplighter.embedded.toolstack.xl import Delays
from lamplighter.errors import CallFailed, DefinitionError, LamplighterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from lamplighter.embedded.guests.behaviour import EmbeddedDefinition
    from lamplighter.embedded.host import EmbeddedHost
    from lamplighter.model.domain import DomainInfo

#: The largest definition file that is read, in bytes.
LARGEST = 1 << 20

#: The longest time an argument may name, in host seconds, and the most calls of one fault.
TEXT_MAX = 86400.0
MOST = 1_000_000


class Arguments:
    """The arguments of a request; ``BadRequest`` says what is wrong with one."""

    def __init__(self, call: str, given: dict[str, object]) -> None:
        self._call = call
        self._given = given
        self._left = dict.fromkeys(given)

    def text(self, key: str) -> str:
        """Return a string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def number(self, key: str, most: int, otherwise: int | None = None) -> int:
        """Return a whole number from 0 to ``most``; ``otherwise`` when it is not given."""
        value = self._take(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self._wrong(key, f"a whole number from 0 to {most}")
        return value

    def seconds(self, key: str, otherwise: float | None = None) -> float:
        """Return a time in host seconds, at most a day; ``otherwise`` when it is not given."""
        value = self._take(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number of seconds")
        if not 0 <= value <= TEXT_MAX:
            raise self._wrong(key, f"0 to {TEXT_MAX:g} seconds")
        return float(value)

    def done(self) -> None:
        """Refuse arguments that the call did not take."""
        for key in self._left:
            raise BadRequest(f"{self._call}: there is no argument {key!r}")

    def _take(self, key: str, otherwise: object = None) -> object:
        self._left.pop(key, None)
        return self._given.get(key, otherwise)

    def _wrong(self, key: str, expected: str) -> BadRequest:
        return BadRequest(f"{self._call}: {key}: expected {expected}")


class Calls:
    """Carries out the requests to one host."""

    def __init__(self, host: EmbeddedHost) -> None:
        self._host = host
        self._begun: set[asyncio.Task[object]] = set()
        self._calls: dict[str, Callable[[Arguments], Awaitable[object]]] = {
            "list": self._list,
            "create": self._create,
            "creating": self._creating,
            "abandoned": self._half_built,
            "destroy": self._destroy,
            "press-power": self._press_power,
            "epitaph": self._shutdown_reason,
            "reaper": self._reaper,
            "status": self._status,
            "fault": self._fault,
            "clear-faults": self._clear_faults,
            "busy": self._busy,
            "restart-xenstore": self._restart_xenstore,
            "kill-reaper": self._kill_reaper,
            "memory": self._memory,
            "quit": self._quit,
        }

    async def answer(self, request: object) -> object:
        """Carry out a request to its end, even if the caller is cancelled."""
        if not isinstance(request, dict) or not isinstance(request.get("call"), str):
            raise BadRequest('expected an object with a "call"')
        name = request.pop("call")
        call = self._calls.get(name)
        if call is None:
            raise BadRequest(f"there is no call {name!r}: there are {', '.join(self._calls)}")
        meanwhile = self._meanwhile(name, request)
        carried_out = self._carry_out(name, call, Arguments(name, request), meanwhile)
        task = asyncio.get_running_loop().create_task(carried_out)
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel every call that has begun."""
        for task in tuple(self._begun):
            task.cancel()
        if self._begun:
            await asyncio.wait(tuple(self._begun))

    def _ended(self, task: asyncio.Task[object]) -> None:
        """Forget a call. Its caller may have gone, so a defect is reported to the event loop."""
        self._begun.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LamplighterError):
            context = {"message": "a call ended with a defect", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def _carry_out(
        self,
        name: str,
        call: Callable[[Arguments], Awaitable[object]],
        arguments: Arguments,
        meanwhile: AbstractContextManager[None],
    ) -> object:
        if await self._host.faults.before(name, meanwhile):
            call = self._create_half
        return await call(arguments)

    def _meanwhile(self, name: str, request: dict[str, object]) -> AbstractContextManager[None]:
        """Return a context in which a delayed ``create`` counts as under way: its program runs."""
        path = request.get("path")
        creates = name == "create" and isinstance(path, str)
        return self._host.xl.under_way(str(path)) if creates else nullcontext()

    # --- the toolstack's calls ---

    async def _list(self, arguments: Arguments) -> object:
        arguments.done()
        return {"domains": [_listed(seen) for seen in await self._host.xl.list_slowly()]}

    async def _create(self, arguments: Arguments) -> object:
        path = arguments.text("path")
        arguments.done()
        return {"domid": await self._host.xl.create(read_file(path))}

    async def _create_half(self, arguments: Arguments) -> object:
        path = arguments.text("path")
        arguments.done()
        await self._host.xl.create_half(read_file(path))
        raise CallFailed("what created it was killed, as it was told to be")

    async def _creating(self, arguments: Arguments) -> object:
        arguments.done()
        return {"paths": sorted(self._host.xl.creating())}

    async def _half_built(self, arguments: Arguments) -> object:
        domid = arguments.number("domid", 0x7FFF)
        arguments.done()
        return {"abandoned": self._host.xl.half_built(domid)}

    async def _destroy(self, arguments: Arguments) -> object:
        domid = arguments.number("domid", 0x7FFF)
        arguments.done()
        await self._host.xl.destroy(domid)
        return {}

    async def _press_power(self, arguments: Arguments) -> object:
        domid = arguments.number("domid", 0x7FFF)
        arguments.done()
        self._host.xl.press_power(domid)
        return {}

    async def _shutdown_reason(self, arguments: Arguments) -> object:
        domid, uuid = arguments.number("domid", 0x7FFF), arguments.text("uuid")
        arguments.done()
        try:
            reason = self._host.xl.shutdown_reason(domid, UUID(uuid))
        except ValueError:
            raise BadRequest("epitaph: uuid: expected a UUID") from None
        return {"reason": None if reason is None else reason.name}

    async def _reaper(self, arguments: Arguments) -> object:
        domid = arguments.number("domid", 0x7FFF)
        arguments.done()
        return {"lives": self._host.xl.reaper_lives(domid)}

    async def _status(self, arguments: Arguments) -> object:
        arguments.done()
        return self._host.status()

    # --- fault injection, and the host itself ---

    async def _fault(self, arguments: Arguments) -> object:
        call, how = arguments.text("of"), arguments.text("how")
        times, seconds = arguments.number("times", MOST, 1), arguments.seconds("seconds", 0.0)
        arguments.done()
        if call not in self._calls:
            raise BadRequest(f"fault: of: there are {', '.join(self._calls)}")
        if how not in [each.value for each in How]:
            raise BadRequest(f"fault: how: expected {', '.join(each.value for each in How)}")
        self._host.faults.set(call, Fault(How(how), seconds), times)
        return {}

    async def _clear_faults(self, arguments: Arguments) -> object:
        arguments.done()
        self._host.faults.clear()
        self._host.xl.busy = Delays()
        return {}

    async def _busy(self, arguments: Arguments) -> object:
        busy = Delays(arguments.seconds("listing", 0.0), arguments.seconds("reaping", 0.0))
        arguments.done()
        self._host.xl.busy = busy
        return {}

    async def _restart_xenstore(self, arguments: Arguments) -> object:
        seconds = arguments.seconds("seconds", 1.0)
        arguments.done()
        await self._host.xenstore.interrupt(seconds)
        return {}

    async def _kill_reaper(self, arguments: Arguments) -> object:
        domid = arguments.number("domid", 0x7FFF)
        arguments.done()
        self._host.xl.kill_reaper(domid)
        return {}

    async def _memory(self, arguments: Arguments) -> object:
        free = arguments.number("free", 1 << 40, 1 << 40)
        arguments.done()
        self._host.hypervisor.leave_free(free)
        return {"free": self._host.hypervisor.free}

    async def _quit(self, arguments: Arguments) -> object:
        arguments.done()
        self._host.quit()
        return {}


def read_file(path: str) -> EmbeddedDefinition:
    """Read a definition as ``xl create`` does; ``CallFailed`` says what is wrong with it."""
    try:
        content = _content(path)
    except OSError as error:
        raise CallFailed(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # it contains a NUL or a lone surrogate
        raise CallFailed(f"{path!r} cannot be read: no file can have this name") from error
    try:
        return read_embedded_definition(content, path)
    except DefinitionError as error:
        raise CallFailed(error.message, hint=error.hint) from error


def _content(path: str) -> str:
    # O_NONBLOCK: opening a FIFO that has no writer must not block the host.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CallFailed(f"{path} is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise CallFailed(f"{path} is larger than {LARGEST} bytes")
    return content.decode(errors="surrogateescape")


def _listed(seen: DomainInfo) -> dict[str, object]:
    return {
        "domid": seen.domid,
        "uuid": str(seen.uuid),
        "name": seen.name,
        "shutdown": None if seen.shutdown is None else seen.shutdown.name,
        "dying": seen.dying,
        "paused": seen.paused,
        "begun": seen.has_run,
    }
