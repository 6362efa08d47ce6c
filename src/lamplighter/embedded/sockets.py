"""Unix sockets that only their owner may open, in the place of stale ones."""

from __future__ import annotations

#: The sockets' names inside a host's run directory.
XENSTORE_SOCKET = "xenstored.sock"

CONTROL_SOCKET = "embedded.sock"
