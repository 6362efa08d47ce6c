"""XenStore requests carried out on a session, and the payloads of their replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.xenstore import paths
from lamplighter.xenstore.server import DONE, directory_part, names_payload
from lamplighter.xenstore.wire import Op

if TYPE_CHECKING:
    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.xenstore.server import Request


def carry_out(session: Session, request: Request) -> bytes:
    """Carry out a request and return the reply's payload; raise ``XenStoreError``."""
    if request.error is not None:
        raise XenStoreError(request.error)
    path, tx_id = request.path, request.tx_id
    match request.op:
        case Op.READ:
            return session.read(path, tx_id)
        case Op.WRITE:
            session.write(path, request.value, tx_id)
        case Op.MKDIR:
            session.mkdir(path, tx_id)
        case Op.RM:
            session.rm(path, tx_id)
        case Op.DIRECTORY:
            _, names = session.directory(path, tx_id)
            return names_payload(names)
        case Op.DIRECTORY_PART:
            generation, names = session.directory(path, tx_id)
            part = directory_part(generation, names, request.offset)
            if part is None:
                raise XenStoreError("EINVAL", "an offset at which no name begins")
            return part
        case Op.GET_PERMS:
            granted = session.get_permissions(path, tx_id)
            return names_payload([str(permission) for permission in granted])
        case Op.SET_PERMS:
            session.set_permissions(path, request.permissions, tx_id)
        case Op.WATCH:
            session.watch(path, request.token)
        case Op.UNWATCH:
            session.unwatch(path, request.token)
        case Op.TRANSACTION_START:
            return b"%d\0" % session.start(tx_id)
        case Op.TRANSACTION_END:
            session.end(tx_id, commit=request.commit)
        case _:
            return _manage(session, request)
    return DONE


def _manage(session: Session, request: Request) -> bytes:
    """Carry out a request that concerns the connection, domains or xenstored itself."""
    domid = request.domid
    match request.op:
        case Op.RESET_WATCHES:
            session.reset()
        case Op.GET_DOMAIN_PATH:
            return paths.domain(domid).encode() + b"\0"
        case Op.IS_DOMAIN_INTRODUCED:
            return b"T\0" if session.is_introduced(domid) else b"F\0"
        case Op.INTRODUCE:
            session.introduce(domid)
        case Op.RELEASE:
            session.release(domid)
        case Op.RESUME:
            # Only the domain is checked: no shutdown state is kept that a resume would clear.
            session.must_know(domid)
        case Op.SET_TARGET:
            # Only the domains are checked: none acts for another here, so a target has no effect.
            session.must_know(domid, int(request.arguments[1]))
        case Op.CONTROL:
            # Of xenstored's commands, only the one that changes nothing: check the tree.
            session.must_know()
            if request.arguments == (b"help",):
                return b"check\0help\0"
            if request.arguments != (b"check",):
                raise XenStoreError("EINVAL", "the control commands are check and help")
            if faults := session.check():
                return "\n".join(faults).encode()[:4096]
        case _:
            raise XenStoreError("ENOSYS")
    return DONE
