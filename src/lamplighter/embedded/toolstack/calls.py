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
from lamplighter.xenstore.permissions import DOMID_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.embedded.guests.behaviour import EmbeddedDefinition
    from lamplighter.embedded.toolstack.faults import Faults
    from lamplighter.embedded.toolstack.hypervisor import Hypervisor
    from lamplighter.embedded.toolstack.xl import Xl
    from lamplighter.embedded.xenstored.server import XenStoreServer

#: The largest definition file that is read, in bytes.
LARGEST = 1 << 20

#: The longest time in an argument, in host seconds, and the most calls of one fault.
SECONDS_MAX = 86400.0
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
        if not 0 <= value <= SECONDS_MAX:
            raise self._wrong(key, f"0 to {SECONDS_MAX:g} seconds")
        return float(value)

    def only_domid(self) -> int:
        """Return the domid of a call that has no other argument."""
        domid = self.number("domid", DOMID_MAX)
        self.done()
        return domid

    def done(self) -> None:
        """Refuse arguments that the call did not take."""
        for key in self._left:
            raise BadRequest(f"{self._call}: there is no argument {key!r}")

    def _take(self, key: str, otherwise: object = None) -> object:
        self._left.pop(key, None)
        return self._given.get(key, otherwise)

    def _wrong(self, key: str, expected: str) -> BadRequest:
        return BadRequest(f"{self._call}: {key}: expected {expected}")


#: The calls: those of the toolstack, then those that inject faults or concern the host itself.
CALLS = (
    *("list", "create", "creating", "abandoned", "destroy", "press-power", "epitaph", "reaper"),
    *("status", "fault", "clear-faults", "busy", "restart-xenstore", "kill-reaper", "memory"),
    "quit",
)


class Calls:
    """Carries out the requests to one host, of which it is given the parts.

    ``status`` returns the state of the host itself, and ``end`` asks its process to end.
    """

    def __init__(
        self,
        xl: Xl,
        hypervisor: Hypervisor,
        xenstore: XenStoreServer,
        faults: Faults,
        status: Callable[[], dict[str, object]],
        end: Callable[[], None],
    ) -> None:
        self._xl = xl
        self._hypervisor = hypervisor
        self._xenstore = xenstore
        self._faults = faults
        self._status = status
        self._end = end
        self._started: set[asyncio.Task[object]] = set()

    async def answer(self, request: object) -> object:
        """Carry out a request to its end, even if the caller is cancelled."""
        if not isinstance(request, dict) or not isinstance(request.get("call"), str):
            raise BadRequest('expected an object with a "call"')
        work = self._carry_out(request.pop("call"), request)
        task = asyncio.get_running_loop().create_task(work)
        self._started.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel every call that has started."""
        for task in tuple(self._started):
            task.cancel()
        if self._started:
            await asyncio.wait(tuple(self._started))

    def _ended(self, task: asyncio.Task[object]) -> None:
        """Forget a call. Its caller may have gone, so a defect is reported to the event loop."""
        self._started.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LamplighterError):
            context = {"message": "a call ended with a defect", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def _carry_out(self, name: str, request: dict[str, object]) -> object:
        """Apply the next fault of this call, if any, and carry it out."""
        path = request.get("path")
        creates = name == "create" and isinstance(path, str)
        # A delayed "create" counts as under way: its program runs.
        meanwhile = self._xl.under_way(str(path)) if creates else nullcontext()
        half = await self._faults.before(name, meanwhile)
        arguments = Arguments(name, request)
        match name:
            case "list":
                arguments.done()
                return {
                    "domains": [
                        {
                            "domid": info.domid,
                            "uuid": str(info.uuid),
                            "name": info.name,
                            "shutdown": None if info.shutdown is None else info.shutdown.name,
                            "dying": info.dying,
                            "paused": info.paused,
                            "begun": info.has_run,
                        }
                        for info in await self._xl.list_slowly()
                    ]
                }
            case "create":
                path = arguments.text("path")
                arguments.done()
                if half:
                    await self._xl.create_half(read_file(path))
                    raise CallFailed("what created it was killed: an injected fault")
                return {"domid": await self._xl.create(read_file(path))}
            case "creating":
                arguments.done()
                return {"paths": sorted(self._xl.creating())}
            case "abandoned":
                return {"abandoned": self._xl.half_built(arguments.only_domid())}
            case "destroy":
                await self._xl.destroy(arguments.only_domid())
                return {}
            case "press-power":
                self._xl.press_power(arguments.only_domid())
                return {}
            case "epitaph":
                domid, uuid = arguments.number("domid", DOMID_MAX), arguments.text("uuid")
                arguments.done()
                try:
                    reason = self._xl.shutdown_reason(domid, UUID(uuid))
                except ValueError:
                    raise BadRequest("epitaph: uuid: expected a UUID") from None
                return {"reason": None if reason is None else reason.name}
            case "reaper":
                return {"lives": self._xl.reaper_lives(arguments.only_domid())}
            case _:
                return await self._control_host(name, arguments)

    async def _control_host(self, name: str, arguments: Arguments) -> object:
        """Carry out a call that concerns the host itself, or what goes wrong on it."""
        match name:
            case "status":
                arguments.done()
                return self._status()
            case "fault":
                call, how = arguments.text("of"), arguments.text("how")
                times, seconds = arguments.number("times", MOST, 1), arguments.seconds("seconds", 0)
                arguments.done()
                if call not in CALLS:
                    raise BadRequest(f"fault: of: there are {', '.join(CALLS)}")
                if how not in [each.value for each in How]:
                    known = ", ".join(each.value for each in How)
                    raise BadRequest(f"fault: how: expected {known}")
                self._faults.set(call, Fault(How(how), seconds), times)
            case "clear-faults":
                arguments.done()
                self._faults.clear()
                self._xl.busy = Delays()
            case "busy":
                busy = Delays(arguments.seconds("listing", 0), arguments.seconds("reaping", 0))
                arguments.done()
                self._xl.busy = busy
            case "restart-xenstore":
                seconds = arguments.seconds("seconds", 1)
                arguments.done()
                await self._xenstore.interrupt(seconds)
            case "kill-reaper":
                self._xl.kill_reaper(arguments.only_domid())
            case "memory":
                free = arguments.number("free", 1 << 40, 1 << 40)
                arguments.done()
                self._hypervisor.leave_free(free)
                return {"free": self._hypervisor.free}
            case "quit":
                arguments.done()
                self._end()
            case _:
                raise BadRequest(f"there is no call {name!r}: there are {', '.join(CALLS)}")
        return {}


def read_file(path: str) -> EmbeddedDefinition:
    """Read a definition as ``xl create`` does; ``CallFailed`` says what is wrong with it."""
    try:
        # O_NONBLOCK: opening a FIFO that has no writer must not block the host.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CallFailed(f"{path} is not a file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CallFailed(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # it contains a NUL or a lone surrogate
        raise CallFailed(f"{path!r} cannot be read: no file can have this name") from error
    if len(content) > LARGEST:
        raise CallFailed(f"{path} is larger than {LARGEST} bytes")
    try:
        return read_embedded_definition(content.decode(errors="surrogateescape"), path)
    except DefinitionError as error:
        raise CallFailed(error.message, hint=error.hint) from error
