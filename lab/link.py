"""Commands into dom0: one ssh connection that all of them share, each command with a deadline.

A connection costs seconds of emulated cryptography, a command over an existing one a tenth. The
connection dies with every snapshot and reboot, so it is opened again on demand.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from lab.clock import wait_for
from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT = 10


@dataclass(frozen=True)
class Ended:
    """How a command in dom0 ended."""

    command: str
    status: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        output = f"{self.stdout}{self.stderr}".strip()
        return f"{self.command}: exit status {self.status} after {self.seconds:.1f} s\n{output}"


class Link:
    """ssh to a port of this machine behind which dom0 answers."""

    def __init__(self, port: int, key: Path) -> None:
        self._folder = Path(mkdtemp(prefix="lamplab-"))
        self._socket = self._folder / "s"
        self._master: subprocess.Popen[bytes] | None = None
        self._base = [
            *("ssh", "-F", "none", "-i", str(key), "-p", str(port), "-l", "root"),
            *("-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"),
            # The newer ones guard against quantum computers, which costs an emulated processor.
            *("-o", "KexAlgorithms=curve25519-sha256"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", f"ConnectTimeout={CONNECT}"),
        ]

    @property
    def by_hand(self) -> str:
        """The command line with which a person gets in."""
        return " ".join([*self._base[:9], *self._base[-6:-2], "127.0.0.1"])

    def run(self, command: str, *, timeout: float, give: bytes = b"") -> Ended:
        """Run a shell command in dom0; ``LabError`` when it isn't done in time."""
        self._connect()
        began = time.monotonic()
        try:
            ended = subprocess.run(
                [*self._base, "-S", str(self._socket), "127.0.0.1", command],
                input=give,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"dom0: {command}: not done after {timeout:.0f} s") from error
        out, err = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
        seconds = time.monotonic() - began
        if ended.returncode == 255:
            self.drop()
            raise LabError(f"dom0: {command}: the connection was lost after {seconds:.0f} s: {err}")
        return Ended(command, ended.returncode, out, err, seconds)

    def copy(self, files: Iterable[Path], folder: str, *, timeout: float) -> None:
        """Put files of this machine into a folder of dom0; folders with all they hold."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
            for path in files:
                archive.add(path, arcname=path.name)
        command = f"mkdir -p {folder} && tar -C {folder} --no-same-owner -xf -"
        ended = self.run(command, timeout=timeout, give=packed.getvalue())
        if ended.status:
            raise LabError(str(ended))

    def wait(self, seconds: float) -> None:
        """Return when dom0 answers."""
        wait_for("dom0 to answer on ssh", self._answers, seconds=seconds, pause=1)

    def drop(self) -> None:
        """Forget the connection: the machine went back to a snapshot, or down."""
        if self._master:
            self._master.kill()
            self._master.wait()
            self._master = None
        self._socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Drop the connection and what it left on disk."""
        self.drop()
        with suppress(OSError):
            self._folder.rmdir()

    def _answers(self) -> bool:
        try:
            return self.run("true", timeout=CONNECT).status == 0
        except LabError:
            self.drop()
            return False

    def _connect(self) -> None:
        if self._master and self._master.poll() is None:
            return
        self.drop()
        command = [*self._base, "-M", "-N", "-S", str(self._socket), "127.0.0.1"]
        self._master = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        master = self._master
        for _ in range(CONNECT * 20):
            if self._socket.exists():
                return
            if master.poll() is not None:
                break
            time.sleep(0.05)
        output = b"" if master.poll() is None or not master.stderr else master.stderr.read()
        self.drop()
        raise LabError(f"dom0 does not answer on ssh: {output.decode(errors='replace').strip()}")
