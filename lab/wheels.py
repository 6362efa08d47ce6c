"""The product as it is shipped, and what it depends on, for a host without a network.

The wheel comes from ``dist/``, where the build put it. What it depends on, and what the contract
tests need, is downloaded on this machine as pure wheels for the Python of each dom0, at the
versions that the lock file names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab import cache
from lab.failure import LabError
from lab.programs import run

if TYPE_CHECKING:
    from lab.cache import Cache

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "dev.txt"
RUN_TIME = ("rich",)
FOR_TESTS = ("pytest",)


def product() -> Path:
    """Return the built wheel; ``LabError`` when there is none, or more than one."""
    found = sorted((ROOT / "dist").glob("lamplighter-*.whl"))
    if len(found) != 1:
        raise LabError(f"dist/ holds {len(found)} wheels of lamplighter; `make wheel` builds one")
    return found[0]


def wheelhouse(store: Cache) -> Path:
    """Return a folder with the pure wheels that dom0 needs beside the product's."""
    recipe: list[str | bytes] = [
        *RUN_TIME,
        *FOR_TESTS,
        LOCK.read_bytes(),
        *cache.text_of(Path(__file__)),
    ]
    return store.get("wheels", recipe, _download)


def _download(place: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    only = ["--only-binary=:all:", "--platform=any", "--python-version=3.11", "-d", str(place)]
    wanted = [*RUN_TIME, *FOR_TESTS]
    run([*command, *only, "-c", LOCK, *wanted], timeout=300)
