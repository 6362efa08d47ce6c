"""The node ``control/shutdown`` as a simulated guest sees it: reading and clearing a request.

The kernel and the agent of a guest both acknowledge a request by clearing the node, and the control
domain may write it at the same time. So each reads and clears it in one transaction, and reads it
again when that conflicts with another write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import StoreConflict, XenStoreError

if TYPE_CHECKING:
    from collections.abc import Container

    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.model.clock import Clock

#: The node, relative to the guest's own.
REQUEST = "control/shutdown"


async def clear_request(session: Session, clock: Clock, known: Container[bytes]) -> bytes | None:
    """Clear the request if it is one of ``known``, and return it; None if the node was left alone.

    Others may write between the steps, as on a real host.
    """
    while True:
        tx = session.start()
        try:
            request = session.read(REQUEST, tx)
            await clock.sleep(0)
            if request in known:
                session.write(REQUEST, b"", tx)
                await clock.sleep(0)
            session.end(tx, commit=request in known)
        except StoreConflict:
            continue
        except XenStoreError:
            session.end(tx, commit=False)
            return None
        return request if request in known else None
