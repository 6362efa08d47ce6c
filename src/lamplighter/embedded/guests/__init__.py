"""The embedded host's guests."""
