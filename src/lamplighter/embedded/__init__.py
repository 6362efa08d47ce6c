"""The embedded host, a small Xen host in one process: XenStore, domains, simulated guests."""

#: The sockets' names inside a host's run directory.
XENSTORE_SOCKET = "xenstored.sock"
CONTROL_SOCKET = "embedded.sock"
