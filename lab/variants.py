"""The kinds of host that the lab builds: a Debian release, its Xen, and who serves XenStore."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A Debian release and the version of Xen it carries."""

    name: str
    xen: str


@dataclass(frozen=True)
class Variant:
    """One host. ``c_xenstored``: the C implementation of XenStore instead of the OCaml one."""

    name: str
    suite: Suite
    c_xenstored: bool = False


BOOKWORM = Suite("bookworm", "4.17")
TRIXIE = Suite("trixie", "4.20")

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("trixie", TRIXIE),
        Variant("bookworm", BOOKWORM),
        Variant("bookworm-cxenstored", BOOKWORM, c_xenstored=True),
    )
}
