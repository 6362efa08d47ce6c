"""A host that has booted, kept from one lab to the next, because a boot takes most of a minute.

It is what a boot leaves: QEMU's overlay, with a snapshot in it of the whole machine as soon as
systemd has ended its jobs. Whoever continues from it works on a copy, and sets dom0's clock, which
still shows the time of that boot.

The key is all that such a machine is made of: the image (with its ssh key, because an image that is
built again is another one), the emulator and its command line. The processor of this machine is in
it, too: an emulated time counter runs as fast as this machine's own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab import cache, evidence, machine
from lab.clock import Deadline
from lab.dom0 import Dom0
from lab.failure import LabError
from lab.link import Link
from lab.machine import BOOTED, OVERLAY, Machine

if TYPE_CHECKING:
    from lab.cache import Cache
    from lab.image import Image
    from lab.variants import Variant

BOOT_TIME = 450.0
PROCESSOR = re.compile(r"^(?:model name|cpu family|model|stepping)\s*:.*$", re.MULTILINE)


def build_booted(variant: Variant, image: Image, store: Cache) -> Path:
    """Return the overlay of a host of this variant that has booted; boot it when there is none."""
    processor = PROCESSOR.findall(Path("/proc/cpuinfo").read_text())
    recipe: list[str | bytes] = [
        image.disk.parent.name,
        image.key.read_bytes(),
        image.emulator.root.parent.name,
        *sorted(set(processor)),
        *cache.text_of(Path(machine.__file__), Path(__file__)),
    ]
    place = store.get(f"booted-{variant.name}", recipe, lambda into: _boot(variant, image, into))
    return place / OVERLAY


def _boot(variant: Variant, image: Image, place: Path) -> None:
    with TemporaryDirectory(prefix=f"lamplab-{variant.name}-") as name:
        folder = Path(name)
        booting = Machine(image, folder, c_xenstored=variant.c_xenstored)
        link = Link(booting.port, image.key)
        try:
            link.wait(BOOT_TIME)
            Dom0(variant, link, Deadline(BOOT_TIME), booting.cut_power).settle()
            link.run("sync", timeout=60)
            link.drop()
            booting.save(BOOTED)
        except LabError as error:
            kept = evidence.keep_serial(booting, variant)
            raise LabError(f"{error}\n  {kept}") from error
        finally:
            link.close()
            booting.quit()
        shutil.move(folder / OVERLAY, place)
