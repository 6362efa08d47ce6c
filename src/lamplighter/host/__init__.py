"""Access to the machine: clock, files, processes, sockets, systemd, XenStore, journal."""
