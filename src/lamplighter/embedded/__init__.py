"""A small Xen host in one process: XenStore, domains and simulated guest kernels."""

#: The sockets' names inside a host's run directory.
XENSTORE_SOCKET = "xenstored.sock"
CONTROL_SOCKET = "embedded.sock"
