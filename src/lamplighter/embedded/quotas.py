"""How much of the store a guest may use.

The numbers and the errors are those of the C xenstored: too many nodes, transactions or
permissions, or a node too large, is ENOSPC; too many watches is E2BIG. (oxenstored answers
``EQUOTA``, a name that xs_wire.h does not have.) The control domain has no limits.

One number differs: a guest's node may hold a whole packet here, where xenstored allows 2048 bytes
unless it is told otherwise, because a host may be told otherwise, and the worst guest is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

from lamplighter.xenstore.wire import PAYLOAD_MAX


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of one guest.

    ``node_size`` is in bytes: a node's value and the names of its children, with ``OVERHEAD``.
    ``touched`` is how many nodes one transaction may look at.
    """

    nodes: int = 1000
    watches: int = 128
    transactions: int = 10
    permissions: int = 5
    node_size: int = PAYLOAD_MAX + 64
    touched: int = 1024


#: What a node needs besides its value and the names below it, in bytes.
OVERHEAD = 24
