"""systemd: its units, its notifications, its scopes."""
