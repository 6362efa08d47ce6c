"""A small Xen host in one process: XenStore, domains and simulated guest kernels."""
