"""How one domain is stopped: its state machine."""
