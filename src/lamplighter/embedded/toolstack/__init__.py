"""The embedded host's hypervisor, its xl and libxl, and its control socket."""
