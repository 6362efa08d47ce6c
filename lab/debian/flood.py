#!/usr/bin/python3
"""A hostile guest: once dom0 has said so, it writes into its own nodes as fast as it is let.

Most of what it writes is random bytes; some of it is an agent's words, each time other ones, so
that a host which answers has something to answer. WINDOW requests are always under way. It tells
its console how many updates XenStore has confirmed; RATE, its one argument, bounds them a second.
"""

from __future__ import annotations

import os
import random
import sys
import time

READ, WRITE = 2, 11
WINDOW = 32
HOME = "data/lamplighter"
NODES = ("version", "ready", "progress", "more", "forced")
SIGN = "data/flood"


def message(kind: int, body: bytes) -> bytes:
    """A message as XenStore's wire wants it: four words and the body."""
    return b"".join(n.to_bytes(4, "little") for n in (kind, 0, 0, len(body))) + body


def update(node: str, value: bytes) -> bytes:
    return message(WRITE, node.encode() + b"\0" + value)


def garbage() -> bytes:
    node = random.choice((*(f"{HOME}/{name}" for name in NODES), "control/shutdown"))
    return update(node, os.urandom(random.choice((1, 16, 64, 200, 201, 300))))


def words(number: int) -> list[bytes]:
    """What an agent might say, so that the garbage around it is looked at as well."""
    return [
        update(f"{HOME}/version", b"1 6.6.6"),
        update(f"{HOME}/more", f"f{number} {number % 9999 + 1} more".encode()),
        update(f"{HOME}/progress", f"{number % 100} flooding {number}".encode()),
    ]


class Bus:
    """The kernel's way to XenStore. A read returns what is left of one answer."""

    def __init__(self) -> None:
        self._bus = os.open("/dev/xen/xenbus", os.O_RDWR)

    def send(self, request: bytes) -> None:
        os.write(self._bus, request)

    def answer(self) -> bytes:
        """Return the body of the next answer."""
        head = self._exactly(16)
        return self._exactly(int.from_bytes(head[12:], "little"))

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += os.read(self._bus, size - len(got))
        return got


def told(bus: Bus) -> bool:
    bus.send(message(READ, SIGN.encode() + b"\0"))
    return bus.answer() == b"1"


def flood(bus: Bus, rate: int) -> None:
    """Write without end."""
    pool = [garbage() for _ in range(199)]
    for number in range(50):
        pool += words(number)
    random.shuffle(pool)
    done, under_way = 0, 0
    began = counted = time.monotonic()
    at_count = 0
    while True:
        while under_way < WINDOW:
            bus.send(pool[(done + under_way) % len(pool)])
            under_way += 1
        bus.answer()
        under_way -= 1
        done += 1
        now = time.monotonic()
        if now - counted >= 1:
            print(
                f"lamplighter-guest: {(done - at_count) / (now - counted):.0f} updates/s",
                flush=True,
            )
            counted, at_count = now, done
        if done > rate * (now - began):
            time.sleep(0.002)


def main() -> None:
    bus = Bus()
    print("lamplighter-guest: up, quiet")
    while not told(bus):
        time.sleep(0.5)
    flood(bus, int(sys.argv[1]))


main()
