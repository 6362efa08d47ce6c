"""The embedded host's XenStore."""
