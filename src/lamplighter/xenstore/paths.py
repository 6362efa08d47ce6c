"""XenStore paths: the nodes this project reads and writes, and which paths XenStore accepts.

A path that begins with ``/`` is absolute. One that begins with ``@`` names a special watch. Any
other path is relative to the connection's own domain: ``/local/domain/<domid>``.
"""

from __future__ import annotations

import re

#: The longest absolute and relative path, in bytes (``XENSTORE_ABS_PATH_MAX``, ``..REL..``).
ABSOLUTE_MAX = 3072
RELATIVE_MAX = 2048

#: Fires when a domain came, or may have come, and once when the watch is set.
INTRODUCE_DOMAIN = "@introduceDomain"
#: Fires when a domain shut down or went, or may have, and once when the watch is set.
RELEASE_DOMAIN = "@releaseDomain"

#: The node above the nodes of all domains.
DOMAINS = "/local/domain"

#: Where a guest's agent and the host exchange messages, below the guest's own node.
AGENT = "data/lamplighter"

_SOUND = re.compile(r"(?:/[A-Za-z0-9_@-]+)+")
_ODD = re.compile(r"[^A-Za-z0-9/_@-]")


def domain(domid: int) -> str:
    """Return a domain's own node."""
    return f"{DOMAINS}/{domid}"


def control_shutdown(domid: int) -> str:
    """Return the node for shutdown requests, which the guest clears to acknowledge one."""
    return f"{DOMAINS}/{domid}/control/shutdown"


def feature(domid: int, request: str) -> str:
    """Return the node that says whether the guest supports ``poweroff``, ``reboot``..."""
    return f"{DOMAINS}/{domid}/control/feature-{request}"


def feature_poweroff(domid: int) -> str:
    """Return the node that says whether the guest supports ``poweroff``: 1, 0, or empty."""
    return feature(domid, "poweroff")


def agent(domid: int) -> str:
    """Return the node below which a guest's agent and the host exchange messages."""
    return f"{DOMAINS}/{domid}/{AGENT}"


def agent_node(domid: int, name: str) -> str:
    """Return the node of one message: ``progress``, ``asked``... (``formats/agent_protocol``)."""
    return f"{DOMAINS}/{domid}/{AGENT}/{name}"


def name(domid: int) -> str:
    """Return the node with the domain's name."""
    return f"{DOMAINS}/{domid}/name"


def target(domid: int) -> str:
    """Return the node of a stub domain that holds the domid of the guest whose devices it models.

    Toolstacks write it (libxl_dm.c, libxl__spawn_stub_dm); a guest can only read it.
    """
    return f"{DOMAINS}/{domid}/target"


def vm(domid: int) -> str:
    """Return the node that holds the path of the domain's node under ``/vm``."""
    return f"{DOMAINS}/{domid}/vm"


def kind(domid: int) -> str:
    """Return the node in which libxl stores the type of the domain: pv, pvh or hvm."""
    return f"/libxl/{domid}/type"


def is_special(path: str) -> bool:
    """Return whether a path names a special watch instead of a node."""
    return path.startswith("@")


def is_absolute(path: str) -> bool:
    """Return whether a path begins at the root."""
    return path.startswith("/")


def absolute(path: str, domid: int) -> str:
    """Return the absolute form of a path from a domain's connection; a special one is kept."""
    return path if path.startswith(("/", "@")) else f"{DOMAINS}/{domid}/{path}"


def is_below(path: str, ancestor: str) -> bool:
    """Return whether an absolute path is the ancestor or below it."""
    return path == ancestor or ancestor == "/" or path.startswith(ancestor + "/")


def fault(path: str, *, special: bool = False) -> str | None:
    """Return what is wrong with a path, or None. ``special``: special watches are allowed."""
    if len(path) <= RELATIVE_MAX and _SOUND.fullmatch(path):  # the usual case
        return None
    if not path:
        return "it is empty"
    if odd := _ODD.search(path):
        return f"{odd[0]!r} is not allowed (letters, digits and -/_@ are)"
    if path.startswith("@") and not special:
        return "a special watch is not a node"
    limit = ABSOLUTE_MAX if path.startswith("/") else RELATIVE_MAX
    if len(path) > limit:
        return f"it has {len(path)} bytes, the limit is {limit}"
    if "//" in path:
        return "it has two slashes in a row"
    if path.endswith("/") and path != "/":
        return "it ends in a slash"
    return None
