"""Lamplighter: the domains of a Xen host come up with the host and go down with it, cleanly."""

__version__ = "0.1.0"
