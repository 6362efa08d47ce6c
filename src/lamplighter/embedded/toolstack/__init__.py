"""The embedded host's hypervisor and its xl."""
