"""The cache of what is built: directories, found by the hash of the recipe that made them.

A recipe is everything the result depends on: the package list, the suite, the text of the code that
builds. An entry is built beside its place and renamed into it, so that one which exists is whole; a
build that was interrupted leaves only a directory that the next build removes. Two labs that want
the same entry wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DEFAULT = Path("/var/cache/lamplighter-lab")
VARIABLE = "LAMPLIGHTER_LAB_CACHE"
#: Entries that nobody has asked for in this time are removed when another of the kind is built.
FORGOTTEN_AFTER = 7 * 24 * 3600.0


class Cache:
    """A directory of built things."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def usual(cls) -> Cache:
        """Return the cache that the environment names, or the default one."""
        return cls(Path(os.environ.get(VARIABLE) or DEFAULT))

    def get(self, kind: str, recipe: Iterable[str | bytes], build: Callable[[Path], None]) -> Path:
        """Return the directory of this kind and recipe; ``build(directory)`` fills a new one."""
        entry = self.directory / f"{kind}-{digest(recipe)}"
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock(kind):
            if entry.exists():
                os.utime(entry)
                return entry
            self._forget(kind)
            scratch = self.directory / f".building-{kind}"
            _remove(scratch)
            scratch.mkdir()
            print(f"building {entry.name}", flush=True)
            began = time.monotonic()
            build(scratch)
            os.sync()
            scratch.rename(entry)
            print(f"built {entry.name} in {time.monotonic() - began:.0f} s", flush=True)
        return entry

    @contextmanager
    def _lock(self, kind: str) -> Iterator[None]:
        with (self.directory / f".lock-{kind}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _forget(self, kind: str) -> None:
        limit = time.time() - FORGOTTEN_AFTER
        for entry in self.directory.glob(f"{kind}-*"):
            if entry.stat().st_mtime < limit:
                _remove(entry)


def digest(recipe: Iterable[str | bytes]) -> str:
    """Return a short hash; ["ab"] and ["a", "b"] differ."""
    total = hashlib.sha256()
    for part in recipe:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]


def text_of(*places: Path) -> list[bytes]:
    """Return what files hold, and what every file in these directories holds, with its name."""
    parts: list[bytes] = []
    for place in places:
        inside = sorted(path for path in place.rglob("*") if path.is_file())
        for path in [place] if place.is_file() else inside:
            if "__pycache__" not in path.parts:
                parts += [path.name.encode(), path.read_bytes()]
    return parts


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
