"""Runs programs: with a deadline, in a session of their own, with bounded output, no shell.

The output is read through our own pipes, and the end of the *process* is waited for, not that of
the pipes: a program may leave a daemon behind that keeps them open. A program that exceeds its
deadline or prints without end gets SIGTERM and then SIGKILL, together with its process group; a
daemon that has created its own session is not in that group.

A process may have to be prepared before it executes its program. A shell waits for that in the
process's place and then executes the program; it exits instead when the preparation failed, or when
the preparing process was killed.

``spawn`` starts a program that outlives the command: it has no terminal, signals to the command's
process group do not reach it, its input is empty and its output goes to a file. While it lives it
holds a lock (``host/lock``), which is more reliable than a process id.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamplighter.errors import CallFailed, CallTimedOut, ConfigurationError, ToolstackUnreachable
from lamplighter.host.machine import PATH

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from lamplighter.model.clock import Clock

#: The whole environment of a program: its messages are parsed in this locale only.
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}

#: Bytes on each of the two streams; a listing of a thousand domains has three million.
OUTPUT_MAX = 1 << 24

#: Seconds between SIGTERM and SIGKILL.
GRACE = 2.0

#: Seconds for reading what the program printed before it ended.
DRAIN = 0.5

#: Waits for a line on standard input and executes the program; exits at the end of file.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")

#: Temporary shortages, which say nothing about the program.
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

#: How many bytes of the end of a log are read for its last line.
TAIL = 2000


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended: its exit status, negative for a signal's number, and its output."""

    status: int
    stdout: str
    stderr: str


class _TooMuch(Exception):
    """The program prints without end."""


async def run(
    argv: Sequence[str],
    clock: Clock,
    seconds: float,
    prepare: Callable[[int], Awaitable[None]] | None = None,
) -> Completed:
    """Run a program to its end.

    ``prepare`` is given the process id before the program is executed; if it raises, the program
    is not executed. Otherwise raises ``CallTimedOut`` after ``seconds`` of the clock,
    ``CallFailed`` for more than ``OUTPUT_MAX`` bytes of output or when memory or file descriptors
    are short, ``ToolstackUnreachable`` for a program that cannot be started.
    """
    with ExitStack() as pipes:
        try:
            out = pipes.enter_context(closing(await _Stream.open()))
            err = pipes.enter_context(closing(await _Stream.open()))
        except OSError as error:
            raise _short_of(error) from error
        process = await _start(argv, out, err, gated=prepare is not None)
        readers = [asyncio.ensure_future(stream.read()) for stream in (out, err)]
        try:
            async with clock.timeout(seconds):
                if prepare is not None:
                    assert process.stdin is not None, "it was started with a pipe"
                    try:
                        await prepare(process.pid)
                        process.stdin.write(b"go\n")
                    finally:
                        process.stdin.close()
                await _watch(process, readers)
            with suppress(TimeoutError):  # read what it printed before its end
                async with clock.timeout(DRAIN):
                    await asyncio.gather(*(asyncio.shield(reader) for reader in readers))
        except TimeoutError:
            message = f"{_shown(argv)} did not end within {seconds:g} s and was killed"
            raise CallTimedOut(message) from None
        except _TooMuch:
            message = f"{_shown(argv)} printed more than {OUTPUT_MAX >> 20} MiB and was killed"
            raise CallFailed(message) from None
        finally:
            # Whatever became of the call: a program that still runs is ended, with its group.
            if process.returncode is None:
                try:
                    for number in (signal.SIGTERM, signal.SIGKILL):
                        await _end(process, number, clock)
                except asyncio.CancelledError:  # no time to wait for SIGTERM any more
                    await _end(process, signal.SIGKILL, clock)
                    raise
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
    assert process.returncode is not None, "it was waited for"
    return Completed(process.returncode, out.text, err.text)


class _Stream:
    """One of a program's output streams: our end of a pipe, and what was read from it."""

    def __init__(
        self, inlet: int, reader: asyncio.StreamReader, transport: asyncio.ReadTransport
    ) -> None:
        self.inlet = inlet
        self._reader = reader
        self._transport = transport
        self._content = bytearray()

    @classmethod
    async def open(cls) -> _Stream:
        outlet, inlet = os.pipe()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(
            lambda: protocol, os.fdopen(outlet, "rb", buffering=0)
        )
        return cls(inlet, reader, transport)

    @property
    def text(self) -> str:
        return self._content.decode("utf-8", "replace")

    async def read(self) -> None:
        """Read to the end of the pipe; raise ``_TooMuch``."""
        while chunk := await self._reader.read(1 << 16):
            self._content += chunk
            if len(self._content) > OUTPUT_MAX:
                raise _TooMuch

    def hand_over(self) -> None:
        """Close our copy of the other end: the program has its own."""
        if self.inlet >= 0:
            os.close(self.inlet)
            self.inlet = -1

    def close(self) -> None:
        self.hand_over()
        self._transport.close()


async def _start(argv: Sequence[str], out: _Stream, err: _Stream, *, gated: bool) -> Process:
    try:
        process = await asyncio.create_subprocess_exec(
            *(GATE if gated else ()),
            *argv,
            stdin=asyncio.subprocess.PIPE if gated else asyncio.subprocess.DEVNULL,
            stdout=out.inlet,
            stderr=err.inlet,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        if error.errno in _SCARCE:
            raise _short_of(error) from error
        raise ToolstackUnreachable(
            f"{argv[0]} cannot be started: {error.strerror or error}",
            hint="is it installed and executable?",
        ) from error
    out.hand_over()
    err.hand_over()
    return process


def _short_of(error: OSError) -> CallFailed:
    return CallFailed(
        f"no program can be started now: {error.strerror or error}",
        hint="are this process's limits, or the memory of the control domain, too small?",
    )


async def _watch(process: Process, readers: Sequence[asyncio.Future[None]]) -> None:
    """Return when the program has ended."""
    ending = asyncio.ensure_future(process.wait())
    try:
        while not ending.done():
            unfinished: list[asyncio.Future[Any]] = [r for r in readers if not r.done()]
            await asyncio.wait([ending, *unfinished], return_when=asyncio.FIRST_COMPLETED)
            for reader in readers:
                if reader.done():
                    reader.result()
    finally:
        ending.cancel()


async def _end(process: Process, number: signal.Signals, clock: Clock) -> None:
    """Send a signal to a program's process group; wait ``GRACE`` for the program's end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    with suppress(TimeoutError):
        async with clock.timeout(GRACE):
            await process.wait()


def _shown(argv: Sequence[str]) -> str:
    return " ".join((Path(argv[0]).name, *argv[1:]))


def executes(pid: int, name: str) -> bool:
    """Return whether the process with this id lives, is root's and executes this program.

    A process can overwrite its command line; what it executes comes from the kernel.
    """
    try:
        place = Path("/proc", str(pid))
        # The kernel appends this once an update has replaced the program's file.
        executed = (place / "exe").readlink().name.removesuffix(" (deleted)")
        return place.stat().st_uid == 0 and executed == name
    except OSError:
        return False


def command_lines() -> Iterator[list[str]]:
    """Yield the command line of every living process of root, and of the user of this one.

    Anybody can write what they like into the command line of a process of theirs: those of others
    are left out. So is one that ends meanwhile.
    """
    believed = {0, os.geteuid()}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            try:
                if entry.stat().st_uid not in believed:
                    continue
                with open(f"{entry.path}/cmdline", "rb", buffering=0) as file:  # noqa: PTH123
                    line = file.readall()
            except OSError:
                continue
            if line:
                yield [os.fsdecode(word) for word in line.removesuffix(b"\0").split(b"\0")]


def spawn(argv: tuple[str, ...], log: Path) -> int:
    """Start a program that outlives us, append its output to ``log``; return its process id.

    Raises ``ConfigurationError`` when the log cannot be written, ``OSError`` when the program
    cannot be started.
    """
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"the log cannot be written: {error.strerror}"
        raise ConfigurationError(message, where=str(log)) from error
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(output)


def ended(pid: int) -> int | None:
    """Return the exit status of a child that has ended, negative for a signal; None if it lives.

    One that is not (or no longer) a child of this process counts as alive.
    """
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if reaped else None


def last_line(log: Path) -> str:
    """Return the last line of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read(TAIL).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
