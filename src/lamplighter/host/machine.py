"""Who is at the keyboard, for the record: the user of this process, and whoever became root."""

from __future__ import annotations

import os
import pwd


def who() -> str:
    """Return the user's name, such as ``root``, or ``anna as root`` through sudo."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    behind = os.environ.get("SUDO_USER", "")
    return f"{behind} as {name}" if behind and behind != name and behind.isprintable() else name
