"""The operations of the commands: they combine toolstack, XenStore, journal and decisions."""
