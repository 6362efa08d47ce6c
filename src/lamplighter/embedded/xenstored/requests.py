"""The handlers of XenStore requests: one small function per type that acts on a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.errors import XenStoreError
from lamplighter.xenstore import paths
from lamplighter.xenstore.server import DONE, directory_part, names_payload
from lamplighter.xenstore.wire import Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamplighter.embedded.xenstored.store import Session
    from lamplighter.xenstore.server import Request


def carry_out(session: Session, request: Request) -> bytes:
    """Carry out a request and return the reply's payload; raise ``XenStoreError``."""
    if request.error:
        raise XenStoreError(request.error)
    handler = _HANDLERS.get(request.op)
    if handler is None:
        raise XenStoreError("ENOSYS")
    return handler(session, request)


def _read(session: Session, request: Request) -> bytes:
    return session.read(request.path, request.tx_id)


def _write(session: Session, request: Request) -> bytes:
    session.write(request.path, request.value, request.tx_id)
    return DONE


def _mkdir(session: Session, request: Request) -> bytes:
    session.mkdir(request.path, request.tx_id)
    return DONE


def _rm(session: Session, request: Request) -> bytes:
    session.rm(request.path, request.tx_id)
    return DONE


def _directory(session: Session, request: Request) -> bytes:
    return names_payload(session.directory(request.path, request.tx_id)[1])


def _directory_part(session: Session, request: Request) -> bytes:
    generation, names = session.directory(request.path, request.tx_id)
    part = directory_part(generation, names, request.offset)
    if part is None:
        raise XenStoreError("EINVAL", "an offset at which no name begins")
    return part


def _get_perms(session: Session, request: Request) -> bytes:
    granted = session.get_permissions(request.path, request.tx_id)
    return names_payload([str(permission) for permission in granted])


def _set_perms(session: Session, request: Request) -> bytes:
    session.set_permissions(request.path, request.permissions, request.tx_id)
    return DONE


def _watch(session: Session, request: Request) -> bytes:
    session.watch(request.path, request.token)
    return DONE


def _unwatch(session: Session, request: Request) -> bytes:
    session.unwatch(request.path, request.token)
    return DONE


def _reset_watches(session: Session, _: Request) -> bytes:
    session.reset()
    return DONE


def _transaction_start(session: Session, request: Request) -> bytes:
    return b"%d\0" % session.start(request.tx_id)


def _transaction_end(session: Session, request: Request) -> bytes:
    session.end(request.tx_id, commit=request.commit)
    return DONE


def _get_domain_path(_: Session, request: Request) -> bytes:
    return paths.domain(request.domid).encode() + b"\0"


def _is_domain_introduced(session: Session, request: Request) -> bytes:
    return b"T\0" if session.is_introduced(request.domid) else b"F\0"


def _introduce(session: Session, request: Request) -> bytes:
    session.introduce(request.domid)
    return DONE


def _release(session: Session, request: Request) -> bytes:
    session.release(request.domid)
    return DONE


def _resume(session: Session, request: Request) -> bytes:
    """Check only the domain: the store keeps no shutdown state that a resume would clear."""
    session.must_know(request.domid)
    return DONE


def _set_target(session: Session, request: Request) -> bytes:
    """Check only the domains: none acts for another on this host, so a target has no effect."""
    session.must_know(request.domid, int(request.arguments[1]))
    return DONE


def _control(session: Session, request: Request) -> bytes:
    """Handle the one of xenstored's control commands that changes nothing: check the tree."""
    session.must_know()
    if request.arguments == (b"help",):
        return b"check\0help\0"
    if request.arguments != (b"check",):
        raise XenStoreError("EINVAL", "the control commands are check and help")
    faults = session.check()
    return "\n".join(faults).encode()[:4096] if faults else DONE


#: Types missing here are answered with ENOSYS.
_HANDLERS: dict[int, Callable[[Session, Request], bytes]] = {
    Op.CONTROL: _control,
    Op.DIRECTORY: _directory,
    Op.READ: _read,
    Op.GET_PERMS: _get_perms,
    Op.WATCH: _watch,
    Op.UNWATCH: _unwatch,
    Op.TRANSACTION_START: _transaction_start,
    Op.TRANSACTION_END: _transaction_end,
    Op.INTRODUCE: _introduce,
    Op.RELEASE: _release,
    Op.GET_DOMAIN_PATH: _get_domain_path,
    Op.WRITE: _write,
    Op.MKDIR: _mkdir,
    Op.RM: _rm,
    Op.SET_PERMS: _set_perms,
    Op.IS_DOMAIN_INTRODUCED: _is_domain_introduced,
    Op.RESUME: _resume,
    Op.SET_TARGET: _set_target,
    Op.RESET_WATCHES: _reset_watches,
    Op.DIRECTORY_PART: _directory_part,
}
