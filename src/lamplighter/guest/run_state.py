"""The agent's state in ``/run``, for the agents and hooks that run after it in the same boot.

A restarted agent, or init's hook in its place, reads there what was done before. It is one file:

    boot 5a3c8f1e-...
    request poweroff taken
    answer 8d04b1c6a2ef
    script 10-database
    script 20-cache 4711 88231 5231.25      pid, its start in clock ticks, its deadline

If ``/run`` is on a disk, the file outlives the boot that it describes. So its first line names the
boot, and a file of another boot counts as empty. The file is written whole and put in the place of
the old one. If there is no room for a second file, it is written in place: a request that is over
must not stay there. A last line without its end is ignored, and so is a line of another form.

``request``: the request that the agent acknowledged, or is about to acknowledge:

    poweroff            it is about to be acknowledged; perhaps it was
    poweroff taken      it was, and the system's shutdown has to begin when the scripts end

There is no such line if nobody or somebody else is to begin the shutdown, or if it has begun.

``answer``: the last of the host's answers to requests for more time that the agent has processed.
An answer stays in XenStore until the next one, so an answer found at the agent's start mostly
belongs to an earlier shutdown. But it may also have come while no agent was running, and then the
guard would end the guest in the middle of the granted time. An answer is noted after the guard has
been moved, because processing it twice does not move the guard again. If it is read late, its
seconds count from then.

``script``: a script that was begun (see ``scripts``), and its process as soon as there is one.

The guard's order has a file of its own (see ``guard``), because it follows other rules. It is valid
as long as the guard that has it, and not for a boot; and it is removed if it cannot be replaced,
because an outdated order would be worse than none. Scripts would run twice after that.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from select import poll
from typing import TYPE_CHECKING, Any, NamedTuple

from lamplighter.formats.agent_protocol import REQUESTS, Answer, parse_answer
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus, read_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.guest.handshake import State
    from lamplighter.guest.log import Log

BOOT_ID = "sys/kernel/random/boot_id"

ANSWER = node("answer")

#: Noted if there has been no answer yet; not the id of any answer.
NONE = "-"

TAKEN = "taken"

#: How often the file's lock is tried, and the milliseconds in between. Another process holds it for
#: a moment only. If it does not, the file is written without: a shutdown must go on.
LOCK_TRIES, LOCK_PAUSE = 50, 10


class Begun(NamedTuple):
    """A script's process, started here or by another process; it may run until ``overdue``."""

    pid: int
    start: int
    overdue: float


class RunState(NamedTuple):
    """What the file says; ``scripts`` are those begun, with None if the process is unknown."""

    request: str = ""
    acknowledged: bool = False
    answer: str = ""
    scripts: Mapping[str, Begun | None] = {}


def encode_state(state: RunState) -> str:
    """Return the lines of a state, without the first one."""
    lines = []
    if state.request:
        lines.append(f"request {state.request}{f' {TAKEN}' if state.acknowledged else ''}\n")
    if state.answer:
        lines.append(f"answer {state.answer}\n")
    for name, process in state.scripts.items():
        details = "" if process is None else f" {process.pid} {process.start} {process.overdue!r}"
        lines.append(f"script {name}{details}\n")
    return "".join(lines)


def parse_state(lines: list[str]) -> RunState:
    """Return the state in these lines; invalid ones are ignored."""
    state = RunState()
    scripts: dict[str, Begun | None] = {}
    for key, *words in filter(None, map(str.split, lines)):
        if key == "request" and words[:1] and words[0] in REQUESTS and words[1:] in ([], [TAKEN]):
            state = state._replace(request=words[0], acknowledged=bool(words[1:]))
        elif key == "answer" and len(words) == 1:
            state = state._replace(answer=words[0])
        elif key == "script" and words:
            scripts[words[0]] = None
            with suppress(ValueError):
                pid, start, overdue = words[1:]
                scripts[words[0]] = Begun(int(pid), int(start), float(overdue))
    return state._replace(scripts=scripts)


class RunStateFile:
    """The file. What cannot be read or written is logged, and the agent goes on without."""

    def __init__(self, path: str, proc: str, log: Log) -> None:
        self._path = path
        self._log = log
        self._last = RunState()
        self._heading = "boot unknown"
        with suppress(OSError), open(f"{proc}/{BOOT_ID}", encoding="ascii") as file:
            self._heading = f"boot {file.read().strip()}"

    def read(self) -> RunState:
        """Return the state of this boot; if the file cannot be read, what this process knows."""
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                heading, *lines = file.read().split("\n")[:-1] or [""]
        except FileNotFoundError:
            return self._last  # nothing yet, or what could not be written or was removed
        except OSError as error:
            self._log.warn(f"{self._path}: {error.strerror}")
            return self._last
        self._last = parse_state(lines) if heading == self._heading else RunState()
        return self._last

    def update(self, scripts: Mapping[str, Begun | None] | None = None, **changes: Any) -> bool:
        """Change these fields; ``scripts`` are added to those in the file. Return whether it is so.

        What could not be written goes into the file with the next change.
        """
        folder = -1
        try:
            # Daemon and hook may both change the file.
            with suppress(OSError):
                folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_CLOEXEC)
                for _ in range(LOCK_TRIES):
                    with suppress(BlockingIOError):
                        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    poll().poll(LOCK_PAUSE)
            state = self.read()
            state = state._replace(scripts={**state.scripts, **(scripts or {})}, **changes)
            self._last = state
            self._write(f"{self._heading}\n{encode_state(state)}".encode())
            return True
        except OSError as error:
            self._log.warn(f"{self._path}: {error.strerror}")
            return False
        finally:
            if folder >= 0:
                os.close(folder)

    def _write(self, content: bytes) -> None:
        # Without the lock two processes may write at one moment: each has a new file of its own.
        new = f"{self._path}.{os.getpid()}.new"
        try:
            with open(new, "wb") as file:
                file.write(content)
            os.replace(new, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            with suppress(FileNotFoundError), open(self._path, "r+b") as file:
                # One write that also covers what is there: half of it must not be read as the rest.
                file.write(content.ljust(os.fstat(file.fileno()).st_size, b"\n"))
                file.flush()
                file.truncate(len(content))
                return
            raise


class Answers:
    """Returns each of the host's answers once, across restarts of the agent."""

    def __init__(self, file: RunStateFile) -> None:
        self._file = file
        self._heard = self._noted = ""  # nothing has been read yet

    def begin(self, bus: Bus, *, going: bool) -> None:
        """Find out which answer is old; ``going``: a shutdown is under way already."""
        if going and (noted := self._file.read().answer):
            self._heard = self._noted = noted
        else:
            answer = parse_answer(read_or_none(bus, ANSWER))
            self._heard = NONE if answer is None else answer.id
            self.settled()

    def new_answer(self, bus: Bus) -> Answer | None:
        """Return the answer in XenStore if it is new."""
        answer = parse_answer(read_or_none(bus, ANSWER))
        if answer is None or answer.id == self._heard:
            return None
        self._heard = answer.id
        return answer

    def settled(self) -> None:
        """Note that the last answer returned has taken effect."""
        if self._heard != self._noted and self._file.update(answer=self._heard):
            self._noted = self._heard


class RequestRecord:
    """Keeps the request that the agent takes in the file."""

    def __init__(self, file: RunStateFile) -> None:
        self._file = file
        state = file.read()
        self._noted = (state.request, state.acknowledged)

    def find(self) -> tuple[str, bool]:
        """Return the request an earlier agent left, or "", and whether it certainly took it."""
        return self._noted

    def note(self, state: State) -> None:
        """Before the actions: note what a successor must know if the agent dies during them."""
        if state.begins:
            self._write(state.begins, acknowledged=True)
        elif state.acknowledging and not state.acknowledged:
            self._write(state.acknowledging, acknowledged=False)

    def forget(self, state: State) -> None:
        """After the actions: clear the note if the agent has no shutdown to begin any more."""
        if not (state.begins or state.acknowledging):
            self._write("", acknowledged=False)

    def _write(self, request: str, *, acknowledged: bool) -> None:
        if (request, acknowledged) != self._noted and self._file.update(
            request=request, acknowledged=acknowledged
        ):
            self._noted = (request, acknowledged)
