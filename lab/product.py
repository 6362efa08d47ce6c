"""The product as pip installs it into dom0, done on this machine.

The Python that does it is dom0's own, out of its root file system, so what comes of it is the same
as in dom0, compiled files too; inside the emulator the same takes half a minute.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache, wheels
from lab.programs import run
from lab.rootfs import build_rootfs

if TYPE_CHECKING:
    from lab.cache import Cache
    from lab.variants import Suite

HOME = Path(wheels.HOME)
#: What Python and pip need of dom0's root file system, and the environment to install into.
PYTHON = (
    *("./bin", "./lib", "./lib64", "./usr/lib64", "./usr/bin/python3*", "./usr/lib/python3*"),
    *(f"./usr/lib/x86_64-linux-gnu/{name}" for name in ("ld-linux*", "libc.so*", "libm.so*")),
    *(f"./usr/lib/x86_64-linux-gnu/{name}" for name in ("libexpat.so*", "libz.so*")),
    f".{HOME}",
)


def build_product(suite: Suite, store: Cache) -> Path:
    """Return a tar file with what installing the wheel adds to this suite's dom0."""
    rootfs, wheel = build_rootfs(suite, store), wheels.product()
    recipe: list[str | bytes] = [rootfs.parent.name, *cache.text_of(wheel, Path(__file__))]
    return (
        store.get(f"product-{suite.name}", recipe, lambda place: _install(rootfs, wheel, place))
        / "product.tar"
    )


def _install(rootfs: Path, wheel: Path, place: Path) -> None:
    with TemporaryDirectory(prefix="root-", dir=place) as folder:
        root = Path(folder)
        run(["tar", "-C", root, "--wildcards", "-xf", rootfs, *PYTHON], timeout=120)
        (root / "tmp").mkdir()
        shutil.copy(wheel, root / "tmp")
        before = _files(root)
        # Without the settings of this machine's own pip.
        pip = f"chroot {root} {wheels.PIP} --isolated --quiet --no-deps /tmp/{wheel.name}"
        run(["sh", "-c", f"umask 022 && {pip}"], timeout=120)
        added = place / "added"
        added.write_text("".join(f"{path}\n" for path in sorted(_files(root) - before)))
        owned = ("--owner=0", "--group=0", "--verbatim-files-from")
        run(["tar", "-C", root, *owned, "-T", added, "-cf", place / "product.tar"], timeout=60)


def _files(root: Path) -> set[Path]:
    """Return every file below the environment, from the root."""
    inside = (root / HOME.relative_to("/")).rglob("*")
    return {path.relative_to(root) for path in inside if path.is_file() or path.is_symlink()}
