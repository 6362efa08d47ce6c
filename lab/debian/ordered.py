#!/usr/bin/python3
"""Wait in the guest until dom0 has written this order into data/order; then end.

For what must happen at a moment that only the scenario knows.
"""

from __future__ import annotations

import os
import sys
import time

REQUEST = b"data/order\0"
READ = 2


def read(bus: int) -> bytes:
    os.write(bus, b"".join(n.to_bytes(4, "little") for n in (READ, 0, 0, len(REQUEST))) + REQUEST)
    answer = b""
    while len(answer) < 16 or len(answer) < 16 + int.from_bytes(answer[12:16], "little"):
        answer += os.read(bus, 4096)
    return answer[16:]


def main() -> None:
    bus = os.open("/dev/xen/xenbus", os.O_RDWR)
    while read(bus) != sys.argv[1].encode():
        time.sleep(0.5)


main()
