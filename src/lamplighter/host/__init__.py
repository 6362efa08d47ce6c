"""Everything that touches the world: clock, files, processes, sockets, systemd, journal."""
