"""The embedded host's xenstored: its tree, transactions, watches and server."""
