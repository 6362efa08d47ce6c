"""Files of the host: reading, writing, whom to trust."""
