"""XenStore permissions of a node and their text form: ``n0``, ``r3``, ``w5``, ``b1``.

The first permission of a node names its owner, who may do everything; its letter applies to every
domain that no later permission names.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The largest domid (``DOMID_MASK``); domids are 16-bit numbers.
DOMID_MAX = 0x7FFF


class Access(Enum):
    """What a domain may do with a node."""

    NONE = "n"
    READ = "r"
    WRITE = "w"
    BOTH = "b"

    @property
    def readable(self) -> bool:
        """Whether reading is allowed."""
        return self in (Access.READ, Access.BOTH)

    @property
    def writable(self) -> bool:
        """Whether writing is allowed."""
        return self in (Access.WRITE, Access.BOTH)


class Permission(NamedTuple):
    """What one domain may do with a node."""

    access: Access
    domid: int

    def __str__(self) -> str:
        return f"{self.access.value}{self.domid}"


def parse(text: str) -> Permission:
    """Parse one permission; ``ValueError`` says what is wrong with it."""
    letter, digits = text[:1], text[1:]
    try:
        access = Access(letter)
    except ValueError:
        raise ValueError(f"permission {text!r} does not begin with n, r, w or b") from None
    return Permission(access, parse_domid(digits))


def parse_domid(text: str) -> int:
    """Parse a decimal domid; ``ValueError`` says what is wrong with it."""
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > DOMID_MAX:
        raise ValueError(f"{text!r} is not a domid (0 to {DOMID_MAX})")
    return int(text)


def encode(granted: Iterable[Permission]) -> bytes:
    """Return permissions as they are in a packet: each terminated by a zero byte."""
    return "".join(f"{permission}\0" for permission in granted).encode("ascii")
