"""QEMU: the process, its monitor (QMP on a Unix socket), and snapshots.

The image is never written to: each machine has an overlay of its own, which also holds the snapshot
of memory and devices. What the host inside flushes is flushed to it, so that a machine that is
killed has lost what a power cut takes, and no more.

To go back to a snapshot a new process is begun: an emulator that goes on must not let its
processors' time counter go back, so the host inside would find that minutes had passed between two
instructions, and stall.

The processor model is Nehalem because it is the one under which dom0 stays whole under load and
libvirt finds a model of its own; there is no hardware virtualisation here.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lab.failure import LabError
from lab.image import C_XENSTORED
from lab.programs import run

if TYPE_CHECKING:
    from pathlib import Path

    from lab.image import Image

MEMORY = 4096
DOM0_MEMORY = 1024
#: The snapshots: a host that has booted, and one that scenarios begin from.
BOOTED, READY = "booted", "ready"
OVERLAY = "overlay.qcow2"
#: Guards against processors that leak. Emulated, each entry into the kernel would flush the
#: translations of the emulator too: the host would be several times slower. Nor is free memory
#: scrubbed at boot: that only makes QEMU take all of it from this machine. The registers of the FPU
#: are switched eagerly: the guards' absence would make Xen do that at the first use, by a trap in
#: the middle of what a guest's kernel does.
UNGUARDED = "spec-ctrl=no,eager-fpu xpti=no pv-l1tf=no bootscrub=0"


class Machine:
    """A running QEMU with a Xen host inside. ``folder`` holds its overlay, socket and logs."""

    def __init__(
        self, image: Image, folder: Path, *, c_xenstored: bool, booted: Path | None = None
    ) -> None:
        """``booted`` is an overlay with the snapshot of a host to go on from; it is copied."""
        self.serial = folder / "serial.log"
        self.port = _free_port()
        self._monitor = folder / "monitor"
        self._said = folder / "qemu.log"
        overlay = folder / OVERLAY
        if booted:
            run(["cp", "--reflink=auto", booted, overlay], timeout=120)
        else:
            make = [*image.emulator.image(), "create", "-q", "-f", "qcow2", "-F", "raw"]
            run([*make, "-b", str(image.disk), str(overlay)], timeout=60)
        self._line = self._command(image, overlay, c_xenstored=c_xenstored)
        (folder / "qemu.command").write_text(shlex.join(self._line) + "\n")
        self._process = self._start(*(("-loadvm", BOOTED) if booted else ()))

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._said.open("ab") as output:
            return subprocess.Popen(
                [*self._line, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _command(self, image: Image, overlay: Path, *, c_xenstored: bool) -> list[str]:
        settings = f"dom0_mem={DOM0_MEMORY}M,max:{DOM0_MEMORY}M {UNGUARDED}"
        boot = "root=/dev/vda rw console=hvc0 net.ifnames=0 quiet mitigations=off init_on_alloc=0"
        if c_xenstored:
            boot += f" {C_XENSTORED}"
        return [
            # It ends with the lab, however that ends.
            *("setpriv", "--pdeathsig", "KILL"),
            *image.emulator.machine(),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem"),
            *("-smp", "2", "-m", str(MEMORY)),
            *("-kernel", str(image.xen), "-append", f"com1=115200,8n1 console=com1 {settings}"),
            *("-initrd", f"{image.kernel} {boot},{image.initrd}"),
            *("-drive", f"file={overlay},if=virtio,format=qcow2,cache=writeback"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-chardev", f"file,id=serial,path={self.serial},append=on"),
            *("-serial", "chardev:serial"),
            *("-qmp", f"unix:{self._monitor},server=on,wait=off"),
        ]

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise ``LabError`` with the end of QEMU's output when it is gone."""
        if not self.alive:
            output = self._said.read_text(errors="replace")[-2000:]
            raise LabError(f"QEMU ended with status {self._process.returncode}\n{output}")

    def save(self, snapshot: str) -> None:
        """Keep the whole machine as it is now."""
        self._human(f"savevm {snapshot}", timeout=120)

    def load(self, snapshot: str) -> None:
        """Go back to a kept state."""
        self.quit()
        self._process = self._start("-loadvm", snapshot)

    def cut_power(self) -> None:
        """Kill QEMU and start it again: only what is on the disk by then is left."""
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def quit(self) -> None:
        """End QEMU, whatever the host inside is doing."""
        if self.alive:
            with suppress(LabError, OSError):
                self._command_monitor("quit", timeout=10)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _human(self, line: str, timeout: float) -> None:
        """Run a monitor command; those that print something have failed."""
        answer = self._command_monitor(
            "human-monitor-command", timeout=timeout, arguments={"command-line": line}
        )
        if answer:
            raise LabError(f"QEMU's monitor on {line!r}: {answer}")

    def _command_monitor(self, name: str, *, timeout: float, **rest: Any) -> Any:
        self.check()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self._monitor))
            with connection.makefile("rwb") as stream:
                _ask(stream, {"execute": "qmp_capabilities"})
                return _ask(stream, {"execute": name, **rest})


def _ask(stream: Any, message: dict[str, Any]) -> Any:
    """Send a message and return its answer; the greeting and events are not one."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
    for line in stream:
        message = json.loads(line)
        if "error" in message:
            raise LabError(f"QEMU's monitor: {message['error']['desc']}")
        if "return" in message:
            return message["return"]
    raise LabError("QEMU's monitor closed")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
