"""The agent in its one file, built once, and running against a store as in a guest."""

from __future__ import annotations

import functools
import os
import select
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.guest.log import Log
from lamplighter.guest.xenbus import Bus

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

BUILDER = Path(__file__).parents[1] / "tools" / "make-agent"

#: Real seconds that anything here may take.
PATIENCE = 30.0


@functools.cache
def program() -> Path:
    """Build it; the folder lives as long as the tests' process."""
    folder = tempfile.TemporaryDirectory(prefix="lamplighter-agent-")
    program.folder = folder  # type: ignore[attr-defined]
    path = Path(folder.name) / "lamplighter-agent"
    subprocess.run([sys.executable, BUILDER, path], check=True)
    return path


def interpreters() -> list[str]:
    """The Pythons here that the agent has to run on: the oldest one and the newest, if any."""
    found = []
    for version in ("3.9", "3.11", "3.13"):
        pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
        usual = Path(f"/usr/bin/python{version}")
        found += [str(path) for path in (usual, *pyenv) if path.exists()][:1]
    return found or [sys.executable]


def until(condition: Callable[[], bool], what: str = "it") -> None:
    """Return when it is so; fail when it never is."""
    for _ in range(int(PATIENCE * 100)):
        if condition():
            return
        select.poll().poll(10)
    raise AssertionError(f"{what} did not come to be")


class Notes(Log):
    """A log that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(marked=False)
        self.lines: list[str] = []

    def _line(self, level: str, text: str) -> None:
        self.lines.append(text)


class Agent:
    """The agent at a store, rehearsing; its places are in one folder."""

    def __init__(self, folder: Path, store: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python
        self.etc = folder / "etc"
        self.rehearsal = folder / "rehearsal"
        self.log = folder / "log"
        self.places = [
            *("--xenstore", str(store), "--etc", str(self.etc), "--run", str(folder / "run")),
        ]
        (self.etc / "shutdown.d").mkdir(parents=True)
        (self.etc / "ready.d").mkdir()
        self.rehearsal.touch()
        self.bus = Bus(str(store))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.bus.close()

    def start(self) -> None:
        """Start it and wait until it has said all it has to say."""
        with self.log.open("ab") as log:
            command = [self.python, "-IS", program(), "run", *self.places]
            self.process = subprocess.Popen(
                [*command, "--rehearse", self.rehearsal], stderr=log, env=self.environment
            )
        until(lambda: self.type("status").returncode == 0, "a daemon")

    def stop(self) -> None:
        """Have it leave."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0, self.log.read_text()
            self.process = None
        with suppress(OSError):  # a guard that still stands: let it rehearse its end now
            pipe = os.open(self.folder / "run" / "guard", os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b"poweroff 0\n")
            os.close(pipe)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command."""
        command, *rest = words
        return subprocess.run(
            [self.python, "-IS", program(), command, *self.places, *rest],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Type a command and do not wait for its end."""
        command, *rest = words
        return subprocess.Popen(
            [self.python, "-IS", program(), command, *self.places, *rest],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def script(self, folder: str, name: str, text: str) -> None:
        """Put a script in place."""
        path = self.etc / folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def word(self, name: str) -> str:
        """What stands in a node of the agent's."""
        return (self.bus.read(f"data/lamplighter/{name}") or b"").decode()

    def note(self, name: str) -> str:
        """What it has written down for its successor: nothing as long as it has not."""
        try:
            return (self.folder / "run" / name).read_text()
        except FileNotFoundError:
            return ""

    def told(self, line: str) -> bool:
        """Say whether the log has this."""
        return line in self.log.read_text()
