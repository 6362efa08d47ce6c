"""The commands as somebody types them: each a process, at one embedded host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from lamplighter.host.systemd.notify import EXEC_PID
from lamplighter.host.systemd.units import SERVICE
from tests.forked import LIMIT, run_forked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LAMPLIGHTER = [sys.executable, "-m", "lamplighter"]

#: How the configuration of such a host begins; more keys of ``[host]`` may follow.
HOST = """\
[host]
toolstack = "embedded"
definitions = ["domains/*.cfg"]
state = "state"
run = "run"
"""

#: A domain that boots and shuts down at once, but for its name.
QUICK = 'memory = 64\nembedded_boot = "1s"\nembedded_shutdown = "1s"\n'


def write_host(
    folder: Path, configuration: str, definitions: Mapping[str, str], *, uuids: bool = False
) -> None:
    """Write what a host reads, with a UUID for each domain if wanted; nobody else may write it."""
    folder.chmod(0o755)
    (folder / "domains").mkdir(mode=0o755)
    for number, (name, text) in enumerate(definitions.items(), 1):
        identity = f'uuid = "00000000-0000-4000-8000-{number:012}"\n' if uuids else ""
        define(folder, name, f'name = "{name}"\n{identity}{text}')
    configure(folder, configuration)


def define(folder: Path, name: str, text: str) -> None:
    path = folder / "domains" / f"{name}.cfg"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def configure(folder: Path, configuration: str) -> None:
    (folder / "lamplighter.toml").write_text(configuration)


class Shell:
    """Types commands at one host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launcher: list[str] = []  # what runs the commands, if anything does
        self.environment = {
            # A test that runs in a unit of systemd has a variable that says who was started there.
            **{name: value for name, value in os.environ.items() if name != EXEC_PID},
            "LAMPLIGHTER_CONFIG": str(folder / "lamplighter.toml"),
            "PYTHONUTF8": "1",
        }

    def type(self, *words: str, **others: Any) -> subprocess.CompletedProcess[str]:
        if not self.launcher and not others:
            return run_forked(words, self.environment)
        return subprocess.run(
            [*self.launcher, *LAMPLIGHTER, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            **others,
        )

    def ask(self, *words: str, status: int = 0) -> dict[str, Any]:
        ended = self.type("--json", *words)
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        document: dict[str, Any] = json.loads(ended.stdout)
        return document

    def boot(self, speed: int = 20) -> None:
        """Cut the host's power, if it has any, and boot it."""
        self.type("host", "stop")
        started = self.type("host", "start", str(self.folder), "--speed", str(speed))
        assert started.returncode == 0, started.stderr

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; return once it has told of the first transition."""
        process = subprocess.Popen(
            [*self.launcher, *LAMPLIGHTER, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert any("->" in line for line in process.stderr), "it ended before its first transition"
        return process


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["outcome"] for entry in document["domains"]}


class Unit(Shell):
    """Types what the unit has, as systemd does it."""

    def __init__(self, folder: Path, manager: socket.socket) -> None:
        super().__init__(folder)
        self._manager = manager
        self._program = folder / "bin" / "systemctl"
        self._program.parent.mkdir()
        self.environment["PATH"] = f"{self._program.parent}:{os.environ['PATH']}"
        self.environment["NOTIFY_SOCKET"] = str(folder / "notify")
        self.environment["SERVICE_RESULT"] = "success"
        self.jobs()
        self.invoke()

    def invoke(self) -> None:
        """The unit begins anew."""
        self.environment["INVOCATION_ID"] = uuid.uuid4().hex

    def jobs(self, *jobs: str) -> None:
        self._program.write_text("#!/bin/sh\n" + "".join(f"echo '{job}'\n" for job in jobs))
        self._program.chmod(0o755)

    def job(self, number: int, kind: str) -> None:
        self.jobs(f"{number} {SERVICE} {kind} running")

    def restart(self) -> list[subprocess.CompletedProcess[str]]:
        """The three commands of a restart, in the order in which systemd runs them."""
        self.job(41, "restart")
        ended = [self.type("down"), self.type("down", "--after-stop")]
        self.job(41, "start")
        self.invoke()
        return [*ended, self.type("up")]

    def domids(self) -> dict[str, int | None]:
        told = json.loads(self.type("--json", "status").stdout)
        return {row["name"]: row["domid"] for row in told["domains"]}

    def last_status(self) -> str:
        """The newest status text that systemd was told."""
        texts = [""]
        self._manager.settimeout(0)
        while True:
            try:
                lines = self._manager.recv(1 << 16).decode().splitlines()
            except BlockingIOError:
                return texts[-1]
            texts += [line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")]


@contextmanager
def open_unit(folder: Path) -> Iterator[Unit]:
    """The unit at the host of this folder, which is booted and then stopped."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(folder / "notify"))
        unit = Unit(folder, manager)
        unit.boot()
        yield unit
        Shell(folder).type("host", "stop")
