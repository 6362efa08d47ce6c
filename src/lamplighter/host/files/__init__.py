"""Files of the host: reading them, installing them, and who could have written them."""
