"""The product as it is shipped, and what it depends on, for a host without a network.

The wheel comes from ``dist/``, where the build put it. What it depends on, and what the contract
tests need, is downloaded on this machine as pure wheels for the Python of each dom0, at the
versions that the lock file names, and is on the disk before the host boots: what takes seconds here
takes a minute inside an emulator.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache
from lab.failure import LabError
from lab.programs import run

if TYPE_CHECKING:
    from lab.cache import Cache

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "dev.txt"
RUN_TIME = ("jeepney", "rich")
FOR_TESTS = ("pytest",)
#: Where dom0 has the product, in a virtual environment of its own.
HOME = "/opt/lamplighter"
PIP = f"{HOME}/bin/python -m pip --disable-pip-version-check install --no-index"


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


def install_needs(root: Path, house: Path) -> None:
    """Install what the product and its tests need into this root file system of a dom0."""
    with TemporaryDirectory(dir=root / "tmp") as folder:
        for wheel in house.glob("*.whl"):
            shutil.copy(wheel, folder)
        links = Path("/tmp", Path(folder).name)
        command = f"{PIP} --quiet --find-links {links} {' '.join((*RUN_TIME, *FOR_TESTS))}"
        run(["chroot", root, "sh", "-c", command], timeout=300)


def _download(place: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    only = ["--only-binary=:all:", "--platform=any", "--python-version=3.11", "-d", str(place)]
    wanted = [*RUN_TIME, *FOR_TESTS]
    run([*command, *only, "-c", LOCK, *wanted], timeout=300)
