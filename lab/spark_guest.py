"""The small guest: a PV kernel of our own (``spark/``), and what compiles it.

It is compiled on this machine, with Debian's gcc and the public headers of Xen that Debian has for
this release: what they describe is the same on every Xen that the lab runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab import cache
from lab.programs import run

if TYPE_CHECKING:
    from lab.cache import Cache

SOURCES = Path(__file__).parent / "spark"
#: Nothing is there but the kernel itself: no C library, no registers but the general ones (nobody
#: has switched the others on), and no red zone, which the hypervisor knows nothing of.
COMPILE = (
    *("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only"),
    *("-mno-red-zone", "-D__XEN_INTERFACE_VERSION__=0x00040d00"),
)
LINK = ("-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-T,spark.lds")
COMPILER = "gcc --version; cat /usr/include/xen/*.h /usr/include/xen/*/*.h"


def build_spark(store: Cache) -> Path:
    """Return the kernel, an ELF image that ``xl`` takes; built when the cache has none."""
    compiler = run(["sh", "-c", COMPILER], timeout=30)
    recipe: list[str | bytes] = [compiler, *cache.text_of(Path(__file__), SOURCES)]
    return store.get("spark", recipe, _build) / "spark"


def _build(place: Path) -> None:
    sources = sorted(path.name for path in SOURCES.iterdir() if path.suffix in (".S", ".c"))
    run([*COMPILE, *LINK, "-o", place / "spark", *sources], timeout=120, cwd=SOURCES)
