"""Runs in dom0, by its own Python: one command, timed to the moment that matters. Prints JSON.

    python3 timed.py up COUNT COMMAND      until so many kernels are up
    python3 timed.py gone COUNT COMMAND    until no guest is listed; or until the command has ended,
                                           where some still execute LATE seconds after it

``reached`` is when that was, ``returned`` when the command ended, both in seconds from its start;
``processor`` the processor time of the command and of all that it started and waited for; ``left``
how many guests the hypervisor lists at the end. What is polled costs next to nothing: XenStore is
asked over one connection, and the hypervisor only when XenStore has no guest any more.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from math import inf

SOCKET = "/run/xenstored/socket"
#: XenStore's operations (xen/io/xs_wire.h), and a message's head: operation, request, transaction,
#: bytes that follow.
DIRECTORY, READ, ERROR = 1, 2, 16
HEAD = struct.Struct("<IIII")
PAUSE, LIMIT = 0.1, 1500.0
#: What has not come so long after the command ended does not come any more.
LATE = 30.0


class Store:
    """A connection to XenStore."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(SOCKET)

    def ask(self, operation: int, path: str) -> bytes:
        """Return the reply; empty when there is no such node."""
        field = path.encode() + b"\0"
        self._socket.sendall(HEAD.pack(operation, 0, 0, len(field)) + field)
        answer, _, _, length = HEAD.unpack(self._receive(HEAD.size))
        payload = self._receive(length)
        return b"" if answer == ERROR else payload

    def _receive(self, length: int) -> bytes:
        return self._socket.recv(length, socket.MSG_WAITALL) if length else b""

    def guests(self) -> list[str]:
        """The domids of all guests."""
        names = self.ask(DIRECTORY, "/local/domain").decode().split("\0")
        return [name for name in names if name and name != "0"]

    def up(self) -> int:
        """How many kernels have advertised themselves."""
        nodes = (f"/local/domain/{domid}/control/feature-poweroff" for domid in self.guests())
        return sum(self.ask(READ, node) == b"1" for node in nodes)


def listed(but: str = "") -> int:
    """How many guests the hypervisor lists, ``but`` those with one of these letters (-b-scd)."""
    table = subprocess.run(["xl", "list"], capture_output=True, text=True, check=True).stdout
    states = [line.split()[-2] for line in table.splitlines()[2:]]
    return sum(not set(but) & set(state) for state in states)


def main(until: str, count: int, command: str) -> dict[str, float]:
    store = Store()
    began = time.monotonic()
    process = subprocess.Popen(["sh", "-c", command])
    status, processor, late = 0, 0.0, inf
    reached = returned = None
    while reached is None or returned is None:
        now = time.monotonic() - began
        if now > LIMIT or (now > late and until == "up"):
            process.kill()
            raise SystemExit(f"not {until} after {now:.0f} s: {command}")
        if returned is None:
            ended, waited, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                returned, status, late = now, os.waitstatus_to_exitcode(waited), now + LATE
                processor = used.ru_utime + used.ru_stime
        if reached is None:
            if until == "up":
                reached = now if store.up() >= count else None
            elif not store.guests():
                reached = time.monotonic() - began if not listed() else None
            elif now > late:  # What has shut down is still taken apart, and waited for.
                reached, late = returned if listed(but="sd") else None, now + LATE
        time.sleep(PAUSE)
    return {
        "reached": reached,
        "returned": returned,
        "processor": processor,
        "status": float(status),
        "left": float(listed()),
    }


if __name__ == "__main__":
    until, count, command = sys.argv[1:]
    print(json.dumps(main(until, int(count), command)))
